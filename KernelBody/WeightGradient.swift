// Weight gradient, finished tile by tile.

package import KernelsInterface

extension Body {
  package static func convolveWeightGradient(
    _ plan: ConvolutionPlan, samplesPerShard: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    input: UnsafePointer<Float>, gradientOutput: UnsafePointer<Float>,
    gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int, of parts: Int
  ) {
    let g = plan.geometry
    let (channels, outputs, pixels) = (g.inputChannels, g.outputChannels, plan.forward)
    for row in share(g.taps * channels, alignment: 8, part: part, of: parts) {
      let (tap, channel) = (row / channels, row % channels)
      for (index, piece) in pieces.enumerated() {
        forVectors(0..<outputs) { k, lanes in
          let sum = treeSum(piece.shardCount) { shard in
            var sum = Floats.zero
            let first = (piece.firstLocalShard + shard) * samplesPerShard
            for sample in first..<(first + samplesPerShard) {
              for pixel in 0..<pixels.pixelCount {
                let offset = Int(pixels.sources[tap * pixels.rowStride + pixel])
                if offset < 0 { continue }
                let x = input[sample * g.inputCount + offset + channel]
                let dy = load(gradientOutput + sample * g.outputCount + pixel * outputs + k, lanes)
                sum = fma(Floats(repeating: x), dy, sum)
              }
            }
            return sum
          }
          store(sum, gradients[index] + row * outputs + k, lanes)
        }
      }
    }
  }
}
