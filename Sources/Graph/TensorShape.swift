// The shape of one sample of an activation.

/// Height, width and channels of one sample, stored NHWC; the batch is not part of a graph.
public struct TensorShape: Sendable, Hashable, CustomStringConvertible {
  /// Rows of pixels.
  public var height: Int
  /// Pixels per row.
  public var width: Int
  /// Values per pixel, contiguous in memory.
  public var channels: Int

  /// Makes a shape; `Graph.init` and the builders check that it is positive.
  public init(height: Int, width: Int, channels: Int) {
    self.height = height
    self.width = width
    self.channels = channels
  }

  /// Values per sample.
  public var elementCount: Int { height * width * channels }
  /// Pixels per sample.
  public var pixelCount: Int { height * width }

  /// "8x8x64".
  public var description: String { "\(height)x\(width)x\(channels)" }

  /// The extent of a sliding window's output: floor((size + 2 padding - kernel) / stride) + 1.
  static func windowCount(size: Int, kernel: Int, stride: Int, padding: Int) -> Int {
    let span = size + 2 * padding - kernel
    return span < 0 ? 0 : span / stride + 1
  }

  /// What a square window makes of this shape; `nil` when the window does not fit.
  func slid(kernel: Int, stride: Int, padding: Int, channels: Int) -> TensorShape? {
    let height = Self.windowCount(size: height, kernel: kernel, stride: stride, padding: padding)
    let width = Self.windowCount(size: width, kernel: kernel, stride: stride, padding: padding)
    guard height > 0, width > 0 else { return nil }
    return TensorShape(height: height, width: width, channels: channels)
  }
}
