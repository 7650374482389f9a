// Pooling and nearest upsampling.

/// Where a pooling window sits: square, with equal stride and padding in both directions.
public struct PoolingGeometry: Sendable, Hashable {
  /// Rows of the input image.
  public let inputHeight: Int
  /// Columns of the input image.
  public let inputWidth: Int
  /// Channels of input and output.
  public let channels: Int
  /// Rows and columns of the window, at most 15.
  public let window: Int
  /// Step between windows.
  public let stride: Int
  /// Pixels outside the image that a window may cover on each side, at most half the window; they never win.
  public let padding: Int

  /// Makes a shape; stops if a length is out of its range.
  public init(inputHeight: Int, inputWidth: Int, channels: Int, window: Int, stride: Int, padding: Int) {
    self.inputHeight = inputHeight
    self.inputWidth = inputWidth
    self.channels = channels
    self.window = window
    self.stride = stride
    self.padding = padding
    precondition(
      (1...15).contains(window) && stride >= 1 && padding >= 0 && padding <= window / 2 && channels >= 1
        && inputHeight + 2 * padding >= window && inputWidth + 2 * padding >= window,
      "pooling shape out of range: \(self)")
  }

  /// Rows of the output image.
  public var outputHeight: Int { (inputHeight + 2 * padding - window) / stride + 1 }
  /// Columns of the output image.
  public var outputWidth: Int { (inputWidth + 2 * padding - window) / stride + 1 }
}

/// Pooling over NHWC images; letters: H, W, C of the input, OH, OW of the output.
public protocol PoolingKernels {
  /// Maximum of each window and where it was; the first maximum wins, NaN wins over everything.
  ///
  /// - Parameters:
  ///   - input: [samples, H, W, C].
  ///   - output: [samples, OH, OW, C].
  ///   - argmax: [samples, OH, OW, C], row * window + column inside the window.
  static func maxPoolForward(
    _ geometry: PoolingGeometry, samples: Int, input: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>,
    argmax: UnsafeMutablePointer<UInt8>, part: Int, of parts: Int)

  /// Each input pixel gathers the gradients of the windows it won, windows ascending.
  ///
  /// - Parameters:
  ///   - gradientOutput: [samples, OH, OW, C], with `argmax`.
  ///   - gradientInput: [samples, H, W, C], overwritten.
  static func maxPoolBackward(
    _ geometry: PoolingGeometry, samples: Int, gradientOutput: UnsafePointer<Float>, argmax: UnsafePointer<UInt8>,
    gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Mean over pixels: sum in ascending order, then divided by their number.
  ///
  /// - Parameters:
  ///   - input: [samples, pixels, C].
  ///   - output: [samples, C].
  static func globalAveragePoolForward(
    _ input: UnsafePointer<Float>, samples: Int, pixels: Int, channels: Int, output: UnsafeMutablePointer<Float>,
    part: Int, of parts: Int)

  /// gradientInput = gradientOutput / pixels, for every pixel.
  ///
  /// - Parameters:
  ///   - gradientOutput: [samples, C].
  ///   - gradientInput: [samples, pixels, C], overwritten.
  static func globalAveragePoolBackward(
    _ gradientOutput: UnsafePointer<Float>, samples: Int, pixels: Int, channels: Int,
    gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Every pixel becomes a square of factor x factor pixels.
  ///
  /// - Parameters:
  ///   - input: [samples, H, W, C].
  ///   - output: [samples, H * factor, W * factor, C].
  static func upsampleNearestForward(
    _ input: UnsafePointer<Float>, samples: Int, height: Int, width: Int, channels: Int, factor: Int,
    output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Every input pixel sums the gradients of its square, rows then columns ascending; `height` and `width` are the
  /// input's.
  ///
  /// - Parameters:
  ///   - gradientOutput: [samples, H * factor, W * factor, C].
  ///   - gradientInput: [samples, H, W, C], overwritten.
  static func upsampleNearestBackward(
    _ gradientOutput: UnsafePointer<Float>, samples: Int, height: Int, width: Int, channels: Int, factor: Int,
    gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int)
}
