// Offset tables of one convolution: which source pixel each (tap, target pixel) reads.
// The indirect GEMM of XNNPACK (Dukhan, "The Indirect Convolution Algorithm", arXiv 1907.02129) with offsets instead of
// pointers, so one table serves every sample, buffer and element size.

/// Target pixels that read the same taps, and what they read; all numbers are per sample.
///
/// Letters: D is the number of channels of the source (C forward, K for the input gradient).
package struct PixelClass {
  /// Taps that target pixels of this class read; may be 0 (a strided 1x1 kernel's input gradient).
  package let tapCount: Int
  /// Target pixels in one sample.
  package let pixelCount: Int
  /// Distance between two taps' rows of `sources`.
  package let rowStride: Int
  /// Whether the class is every pixel of the image in order, so that pixels of all samples lie one after the other.
  package let contiguous: Bool
  /// [tapCount] indices into the kernel's taps, ascending.
  package let taps: UnsafePointer<Int32>
  /// [pixelCount] index of the target pixel in its image.
  package let targets: UnsafePointer<Int32>
  /// [tapCount][rowStride] offset of the source pixel from the start of its sample, in elements (pixel * D).
  ///
  /// -1 is padding. Rows have 16 spare entries of -1 so that vectors may read past the end.
  package let sources: UnsafePointer<Int32>
}

/// Everything about a convolution that depends on its shape alone.
///
/// Made once per layer and used by any number of threads; buffers for packed weights belong to the caller and have the
/// counts given here.
///
/// `@unchecked Sendable` because every table is written in `init` only.
public final class ConvolutionPlan: @unchecked Sendable {
  /// The shape that the tables were made for.
  public let geometry: ConvolutionGeometry
  /// Floats of scratch memory that one thread needs for `convolveForward` and `convolveInputGradient`; may be 0.
  public let scratchCount: Int
  /// Whether `convolveInputGradient` takes what `packWeights` has packed, instead of weights packed for it.
  public let sharesPackedWeights: Bool
  /// Whether weights in panels are what `packWeights` would make of them, so that it need not be called.
  public var weightsArePacked: Bool { geometry.outputChannels % Self.panelWidth == 0 }
  /// Floats that `packWeights` writes.
  public let packedWeightCount: Int
  /// Floats that `packInputGradientWeights` writes.
  public let packedInputGradientWeightCount: Int
  /// Bytes that `packInt8Weights` may write (instruction sets differ; this is the largest).
  public let packedInt8ByteCount: Int

  /// All output pixels reading the input with all taps.
  package let pixels: PixelClass
  /// The same in classes that leave out the taps that read padding.
  package let forward: UnsafeBufferPointer<PixelClass>
  /// The output pixels of each tap that do not read padding with it, for weight gradients; nil where leaving out padding does not
  /// pay.
  package let tapPixels: UnsafeBufferPointer<PixelClass>?
  /// Input pixels reading the output's gradient, in classes by phase of the stride and taps that do not read padding.
  package let inputGradient: UnsafeBufferPointer<PixelClass>
  /// Tiles of the forward product and the weight gradient, and of the input gradient; nil where pixels are computed one by one.
  package let forwardTiles: UnsafePointer<WinogradTable>?
  package let inputGradientTiles: UnsafePointer<WinogradTable>?
  /// max(C, K) zeros as floats, which also serve as int8 zeros.
  package let zeros: UnsafePointer<Float>

  private let storage: [UnsafeMutableRawPointer]

  /// Computes the tables, for kernels of up to 16 x 16; about 4 * T * (pixels of input + pixels of output) bytes.
  public init(_ geometry: ConvolutionGeometry) {
    let (c, k, taps) = (geometry.inputChannels, geometry.outputChannels, geometry.taps)
    let panel = ConvolutionPlan.panelWidth
    precondition(taps <= ConvolutionPlan.largestTaps, "a kernel of \(taps) taps; at most \(Self.largestTaps)")
    self.geometry = geometry
    let usesTiles = Self.prefersWinograd(geometry)
    packedWeightCount = (k + panel - 1) / panel * panel * taps * c
    packedInputGradientWeightCount = (c + panel - 1) / panel * panel * taps * k
    sharesPackedWeights = c % panel == 0 && k % panel == 0
    // Without tiles two panels are turned for the input gradient.
    let turned = sharesPackedWeights ? 2 * taps * k * panel : 0
    scratchCount = usesTiles ? Self.winogradScratch(channels: max(c, k)) : turned
    packedInt8ByteCount = (k + panel - 1) / panel * taps * ((c + 3) / 4) * 2 * 4 * panel
    var owned: [UnsafeMutableRawPointer] = []
    let rows = ConvolutionPlan.forwardRows(geometry)
    pixels = PixelClass(rows, owned: &owned)
    // The int8 product takes all taps of fewer than 4 channels as one run.
    forward = PixelClass.make(c < 4 ? [rows] : rows.withoutPadding(), owned: &owned)
    // A group of tiles has the pixels of one tap, if that has channels enough.
    let leavesOutPadding = rows.hasPadding && c >= 128 && c % 8 == 0
    tapPixels = leavesOutPadding ? PixelClass.make((0..<taps).map(rows.pixels), owned: &owned) : nil
    inputGradient = PixelClass.make(
      ConvolutionPlan.inputGradientRows(geometry).flatMap { $0.withoutPadding() }, owned: &owned)
    let g = geometry
    let input = ImageShape(height: g.inputHeight, width: g.inputWidth, channels: c)
    let output = ImageShape(height: g.outputHeight, width: g.outputWidth, channels: k)
    forwardTiles =
      usesTiles ? WinogradTable.make(source: input, target: output, padding: g.padding, owned: &owned) : nil
    inputGradientTiles =
      usesTiles ? WinogradTable.make(source: output, target: input, padding: 2 - g.padding, owned: &owned) : nil
    let zeroCount = max(c, k) + panel
    let zeros = UnsafeMutablePointer<Float>.allocate(capacity: zeroCount)
    zeros.initialize(repeating: 0, count: zeroCount)
    owned.append(UnsafeMutableRawPointer(zeros))
    self.zeros = UnsafePointer(zeros)
    storage = owned
  }

  deinit {
    for pointer in storage { pointer.deallocate() }
  }

  /// Width of a packed panel of weights, the lanes of `SIMD16`.
  package static let panelWidth = 16
  /// Taps of the largest kernel, 16 x 16; the kernels' scratch for 2,048 row pointers has room for 8 pixels of it.
  package static let largestTaps = 256
}

/// A `PixelClass` while it is being computed.
struct PixelClassRows {
  var taps: [Int32] = []
  var targets: [Int32] = []
  var coversImage = false
  /// Offsets, [tap][pixel].
  var sources: [[Int32]] = []

  /// Whether a sixteenth of what is read or more is padding, so that it pays to leave it out.
  var hasPadding: Bool {
    let padding = sources.reduce(0) { $0 + $1.count { $0 < 0 } }
    return padding > 0 && padding * 16 >= taps.count * targets.count
  }

  /// The pixels that do not read padding with a tap.
  func pixels(ofTap tap: Int) -> PixelClassRows {
    let pixels = targets.indices.filter { sources[tap][$0] >= 0 }
    return PixelClassRows(
      taps: [taps[tap]], targets: pixels.map { targets[$0] }, sources: [pixels.map { sources[tap][$0] }])
  }

  /// A class for each set of taps that do not read padding, if it pays.
  func withoutPadding() -> [PixelClassRows] {
    guard hasPadding else { return [self] }
    let sets = targets.indices.map { pixel in taps.indices.filter { sources[$0][pixel] >= 0 } }
    return Dictionary(grouping: targets.indices) { sets[$0] }.sorted { $0.value[0] < $1.value[0] }
      .map { set, pixels in
        PixelClassRows(
          taps: set.map { taps[$0] }, targets: pixels.map { targets[$0] },
          sources: set.map { tap in pixels.map { sources[tap][$0] } })
      }
  }
}

extension PixelClass {
  /// Makes the tables of several classes, in memory that joins `owned`.
  static func make(
    _ rows: [PixelClassRows], owned: inout [UnsafeMutableRawPointer]
  ) -> UnsafeBufferPointer<PixelClass> {
    let classes = UnsafeMutableBufferPointer<PixelClass>.allocate(capacity: rows.count)
    for (index, row) in rows.enumerated() { classes.initializeElement(at: index, to: PixelClass(row, owned: &owned)) }
    if let start = classes.baseAddress { owned.append(UnsafeMutableRawPointer(start)) }
    return UnsafeBufferPointer(classes)
  }

  /// Makes the tables, in memory that joins `owned`.
  init(_ rows: PixelClassRows, owned: inout [UnsafeMutableRawPointer]) {
    let spare = 16
    tapCount = rows.taps.count
    pixelCount = rows.targets.count
    rowStride = rows.targets.count + spare
    contiguous = rows.coversImage
    let count = tapCount * rowStride
    let sources = UnsafeMutablePointer<Int32>.allocate(capacity: max(count, 1))
    sources.initialize(repeating: -1, count: max(count, 1))
    for (tap, row) in rows.sources.enumerated() {
      for (pixel, offset) in row.enumerated() { sources[tap * rowStride + pixel] = offset }
    }
    let taps = UnsafeMutablePointer<Int32>.allocate(capacity: max(rows.taps.count, 1))
    for (index, tap) in rows.taps.enumerated() { (taps + index).initialize(to: tap) }
    let targets = UnsafeMutablePointer<Int32>.allocate(capacity: max(rows.targets.count, 1))
    for (index, target) in rows.targets.enumerated() { (targets + index).initialize(to: target) }
    owned += [UnsafeMutableRawPointer(sources), UnsafeMutableRawPointer(taps), UnsafeMutableRawPointer(targets)]
    self.sources = UnsafePointer(sources)
    self.taps = UnsafePointer(taps)
    self.targets = UnsafePointer(targets)
  }
}

extension ConvolutionPlan {
  fileprivate static func forwardRows(_ g: ConvolutionGeometry) -> PixelClassRows {
    var rows = PixelClassRows()
    rows.coversImage = true
    rows.targets = (0..<Int32(g.outputHeight * g.outputWidth)).map { $0 }
    for tapY in 0..<g.kernelHeight {
      for tapX in 0..<g.kernelWidth {
        rows.taps.append(Int32(tapY * g.kernelWidth + tapX))
        var row: [Int32] = []
        for y in 0..<g.outputHeight {
          for x in 0..<g.outputWidth {
            let (inputY, inputX) = (y * g.stride + tapY - g.padding, x * g.stride + tapX - g.padding)
            let inside = inputY >= 0 && inputY < g.inputHeight && inputX >= 0 && inputX < g.inputWidth
            row.append(inside ? Int32((inputY * g.inputWidth + inputX) * g.inputChannels) : -1)
          }
        }
        rows.sources.append(row)
      }
    }
    return rows
  }

  /// Input pixel (y, x) receives tap (tapY, tapX) from output ((y + padding - tapY) / stride, ...) where that divides,
  /// so pixels with equal (y + padding) mod stride and (x + padding) mod stride form a class.
  fileprivate static func inputGradientRows(_ g: ConvolutionGeometry) -> [PixelClassRows] {
    var classes: [PixelClassRows] = []
    for phaseY in 0..<g.stride {
      for phaseX in 0..<g.stride {
        let columns = (0..<g.inputWidth).filter { ($0 + g.padding) % g.stride == phaseX }
        let pixels = (0..<g.inputHeight).filter { ($0 + g.padding) % g.stride == phaseY }
          .flatMap { y in columns.map { x in (y, x) } }
        guard !pixels.isEmpty else { continue }
        var rows = PixelClassRows()
        rows.coversImage = g.stride == 1
        rows.targets = pixels.map { Int32($0.0 * g.inputWidth + $0.1) }
        for tapY in stride(from: phaseY, to: g.kernelHeight, by: g.stride) {
          for tapX in stride(from: phaseX, to: g.kernelWidth, by: g.stride) {
            rows.taps.append(Int32(tapY * g.kernelWidth + tapX))
            rows.sources.append(
              pixels.map { y, x in
                let (outputY, outputX) = ((y + g.padding - tapY) / g.stride, (x + g.padding - tapX) / g.stride)
                let inside =
                  y + g.padding >= tapY && x + g.padding >= tapX && outputY < g.outputHeight && outputX < g.outputWidth
                return inside ? Int32((outputY * g.outputWidth + outputX) * g.outputChannels) : -1
              })
          }
        }
        classes.append(rows)
      }
    }
    return classes
  }
}
