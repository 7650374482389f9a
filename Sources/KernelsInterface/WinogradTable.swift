// Which source pixels each 2x2 tile of a Winograd product reads, and how much memory the product takes.

/// The 4x4 patches of a 3x3 convolution with stride 1, one per tile of 2x2 target pixels.
package struct WinogradTable {
  /// Positions of the patch take the place of taps, tiles that of pixels.
  package let patches: PixelClass
  /// The 2x2 target pixels of each tile, as if they were taps, in the target image.
  package let targets: PixelClass
  /// Tiles in a row of the target image.
  package let columns: Int
  /// Size of the target image.
  package let height: Int
  package let width: Int
}

extension ConvolutionPlan {
  /// Groups of 8 tiles whose patches, about a megabyte, stay in the second-level cache while all weights pass over them.
  package static func winogradGroups(channels: Int) -> Int {
    max(8, min(16, 262_144 / (128 * winogradStride(channels: channels))))
  }

  /// Floats between the channels of two tiles; off the powers of two, where cache lines would collide.
  package static func winogradStride(channels: Int) -> Int { channels + 16 }

  /// Floats between the transformed weights of two positions; off the powers of two as well.
  package static func winogradWeightStride(channels: Int) -> Int { 16 * channels + 16 }

  /// Floats that one thread needs for a product over `channels`.
  static func winogradScratch(channels: Int) -> Int {
    winogradGroups(channels: channels) * (128 * winogradStride(channels: channels) + 4096) + 32
      * winogradWeightStride(channels: channels)
  }

  /// Tiles of an int8 product in integers; nil where four times its sums, T * C * 2^14, might leave int32.
  package var int8Tiles: UnsafePointer<WinogradTable>? {
    geometry.inputChannels < (1 << 31) / (4 * 9 * 128 * 128) ? forwardTiles : nil
  }

  /// Whether tiles of 2x2 save a fifth of the multiplications in both images: 16 of each against the taps that do not read padding.
  static func prefersWinograd(_ g: ConvolutionGeometry) -> Bool {
    func tapsRead(_ target: Int, _ source: Int) -> Int {
      (0..<target).reduce(0) { $0 + max(0, min($1 + 3 - g.padding, source) - max($1 - g.padding, 0)) }
    }
    let direct = tapsRead(g.outputHeight, g.inputHeight) * tapsRead(g.outputWidth, g.inputWidth)
    func saves(_ height: Int, _ width: Int) -> Bool {
      5 * 16 * ((height + 1) / 2 * ((width + 1) / 2)) <= 4 * direct
    }
    return g.kernelHeight == 3 && g.kernelWidth == 3 && g.stride == 1 && g.padding <= 2
      && g.inputChannels % panelWidth == 0 && g.outputChannels % panelWidth == 0
      && saves(g.outputHeight, g.outputWidth) && saves(g.inputHeight, g.inputWidth)
  }
}

/// An image's size.
struct ImageShape {
  let height: Int
  let width: Int
  let channels: Int
}

extension WinogradTable {
  /// A table in memory that joins `owned`: tiles of a target image and their patches of a source image.
  ///
  /// Pixels outside an image are padding.
  static func make(
    source: ImageShape, target: ImageShape, padding: Int, owned: inout [UnsafeMutableRawPointer]
  ) -> UnsafePointer<WinogradTable> {
    let (rows, columns) = ((target.height + 1) / 2, (target.width + 1) / 2)
    /// `size` x `size` pixels of an image for every tile, from `offset` before its first target pixel.
    func table(_ image: ImageShape, size: Int, offset: Int) -> PixelClassRows {
      var table = PixelClassRows()
      table.targets = (0..<Int32(rows * columns)).map { $0 }
      for i in 0..<size {
        for j in 0..<size {
          table.taps.append(Int32(i * size + j))
          table.sources.append(
            (0..<rows * columns).map { tile in
              let (y, x) = (tile / columns * 2 - offset + i, tile % columns * 2 - offset + j)
              let inside = y >= 0 && y < image.height && x >= 0 && x < image.width
              return inside ? Int32((y * image.width + x) * image.channels) : -1
            })
        }
      }
      return table
    }
    let result = UnsafeMutablePointer<WinogradTable>.allocate(capacity: 1)
    result.initialize(
      to: WinogradTable(
        patches: PixelClass(table(source, size: 4, offset: padding), owned: &owned),
        targets: PixelClass(table(target, size: 2, offset: 0), owned: &owned), columns: columns,
        height: target.height, width: target.width))
    owned.append(UnsafeMutableRawPointer(result))
    return UnsafePointer(result)
  }
}
