// Shapes of convolutions to test with, and the definition that every product is compared to.

import Kernels

/// Shapes that leave tails everywhere: odd channels, 1x1 maps, strides, images that end inside a tile.
let convolutionShapes: [(geometry: ConvolutionGeometry, samples: Int)] = [
  (shape(1, 1, 1, kernel: 1, outputs: 1), 1),
  (shape(1, 1, 40, kernel: 1, outputs: 10), 17),
  (shape(1, 1, 64, kernel: 1, outputs: 48), 16),
  (shape(5, 4, 3, kernel: 3, padding: 1, outputs: 5), 3),
  (shape(9, 9, 1, kernel: 3, padding: 1, outputs: 16), 2),
  (shape(6, 6, 16, kernel: 3, padding: 1, outputs: 17), 2),
  (shape(7, 7, 16, kernel: 3, stride: 2, padding: 1, outputs: 32), 3),
  (shape(8, 6, 15, kernel: 3, stride: 2, padding: 1, outputs: 33), 2),
  (shape(6, 6, 24, kernel: 1, stride: 2, outputs: 40), 3),
  (shape(9, 8, 3, kernel: 7, stride: 2, padding: 3, outputs: 20), 2),
  (shape(2, 2, 40, kernel: 3, padding: 1, outputs: 64), 5),
  (shape(6, 7, 5, kernel: 2, stride: 3, padding: 1, outputs: 10), 4),
  (shape(4, 4, 520, kernel: 1, outputs: 16), 1),
  // By Winograd's algorithm: whole tiles, a row and a column that end inside one, no padding, more than the kernel's reach.
  (shape(6, 6, 16, kernel: 3, padding: 1, outputs: 48), 3),
  (shape(7, 12, 32, kernel: 3, padding: 1, outputs: 16), 2),
  (shape(2, 2, 64, kernel: 3, padding: 1, outputs: 32), 9),
  (shape(10, 8, 16, kernel: 3, outputs: 16), 2),
  (shape(6, 8, 16, kernel: 3, padding: 2, outputs: 32), 2),
  (shape(32, 32, 16, kernel: 3, padding: 1, outputs: 32), 1),
  // More channels and columns than a weight gradient takes together.
  (shape(4, 5, 80, kernel: 3, padding: 1, outputs: 144), 3),
  // Channels enough for a weight gradient without padding: taps that no pixel reads, a stride, tiles and none.
  (shape(1, 1, 136, kernel: 3, padding: 1, outputs: 48), 3),
  (shape(2, 2, 128, kernel: 3, padding: 1, outputs: 40), 3),
  (shape(2, 3, 128, kernel: 3, padding: 1, outputs: 32), 2),
  (shape(5, 4, 128, kernel: 3, stride: 2, padding: 1, outputs: 34), 5),
]

func shape(
  _ height: Int, _ width: Int, _ channels: Int, kernel: Int, stride: Int = 1, padding: Int = 0, outputs: Int
) -> ConvolutionGeometry {
  ConvolutionGeometry(
    inputHeight: height, inputWidth: width, inputChannels: channels, kernelHeight: kernel, kernelWidth: kernel,
    stride: stride, padding: padding, outputChannels: outputs)
}

/// Where the weight of a tap, a channel and an output lies: panels of 16 outputs, the last one with the lanes that are left.
func weightIndex(_ g: ConvolutionGeometry, _ tap: Int, _ channel: Int, _ output: Int) -> Int {
  panelIndex(row: tap * g.inputChannels + channel, rows: g.taps * g.inputChannels, output, outputs: g.outputChannels)
}

func panelIndex(row: Int, rows: Int, _ output: Int, outputs: Int) -> Int {
  let first = output / 16 * 16
  return first * rows + row * min(16, outputs - first) + output % 16
}

/// Calls body(sample, output pixel, input pixel, tap) for every product of a pixel and a tap, as the definition has it.
func forTaps(_ g: ConvolutionGeometry, samples: Int, _ body: (Int, Int, Int, Int) -> Void) {
  for sample in 0..<samples {
    for y in 0..<g.outputHeight {
      for x in 0..<g.outputWidth {
        for tapY in 0..<g.kernelHeight {
          for tapX in 0..<g.kernelWidth {
            let (inputY, inputX) = (y * g.stride + tapY - g.padding, x * g.stride + tapX - g.padding)
            guard (0..<g.inputHeight).contains(inputY), (0..<g.inputWidth).contains(inputX) else { continue }
            body(sample, y * g.outputWidth + x, inputY * g.inputWidth + inputX, tapY * g.kernelWidth + tapX)
          }
        }
      }
    }
  }
}
