// Which source pixels each 2x2 tile of a Winograd product reads, and how much memory the product takes.

/// The 4x4 patches of a 3x3 convolution with stride 1, one per tile of 2x2 target pixels.
package struct WinogradTable {
  /// Positions of the patch take the place of taps, tiles that of pixels.
  package let patches: PixelClass
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

  /// Whether tiles of 2x2 save enough multiplications in both images: 16 of each against 9 of each pixel.
  static func prefersWinograd(_ g: ConvolutionGeometry) -> Bool {
    func saves(_ height: Int, _ width: Int) -> Bool {
      3 * 16 * ((height + 1) / 2 * ((width + 1) / 2)) <= 2 * 9 * height * width
    }
    return g.kernelHeight == 3 && g.kernelWidth == 3 && g.stride == 1 && g.padding <= 2
      && g.inputChannels % panelWidth == 0 && g.outputChannels % panelWidth == 0
      && saves(g.outputHeight, g.outputWidth) && saves(g.inputHeight, g.inputWidth)
  }

  /// Patches of a source image of `sourceChannels` channels for a target image.
  static func winogradRows(
    sourceHeight: Int, sourceWidth: Int, sourceChannels: Int, padding: Int, height: Int, width: Int
  ) -> PixelClassRows {
    var rows = PixelClassRows()
    let (tileRows, tileColumns) = ((height + 1) / 2, (width + 1) / 2)
    rows.targets = (0..<Int32(tileRows * tileColumns)).map { $0 }
    for i in 0..<4 {
      for j in 0..<4 {
        rows.taps.append(Int32(i * 4 + j))
        var row: [Int32] = []
        for tileY in 0..<tileRows {
          for tileX in 0..<tileColumns {
            let (y, x) = (tileY * 2 - padding + i, tileX * 2 - padding + j)
            let inside = y >= 0 && y < sourceHeight && x >= 0 && x < sourceWidth
            row.append(inside ? Int32((y * sourceWidth + x) * sourceChannels) : -1)
          }
        }
        rows.sources.append(row)
      }
    }
    return rows
  }
}
