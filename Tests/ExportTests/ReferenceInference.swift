// A plain twin of integer inference, written for clarity: NHWC, one sample, loops over everything.
// The meaning is DeployedModel's: exact integer sums, one scale per output channel, float in between.

import Graph
import Quantization

/// Evaluates a deployed model on one sample.
struct ReferenceInference {
  /// A node's value: real numbers, and the integers they stand for behind a fakeQuantize node.
  private struct Value {
    var reals: [Float]
    var integers: [Int32] = []
    var scale: Float = 1
  }

  let model: DeployedModel

  /// The first output of a sample in NHWC.
  func run(_ input: [Float]) throws -> [Float] {
    var values: [Value] = []
    for node in model.graph.nodes {
      let inputs = node.inputs.map { values[$0.index] }
      let shapes = node.inputs.map { model.graph[$0].shape }
      switch node.operation {
      case .input: values.append(Value(reals: input))
      case .convolution(let convolution):
        values.append(convolve(node, inputs[0], shapes[0], convolution))
      case .linear(let linear):
        let convolution = (kernel: 1, stride: 1, padding: 0, outputs: linear.outputChannels)
        values.append(slide(node, inputs[0], shapes[0], convolution))
      case .relu: values.append(Value(reals: inputs[0].reals.map { max($0, 0) }))
      case .add: values.append(Value(reals: zip(inputs[0].reals, inputs[1].reals).map { $0 + $1 }))
      case .maxPool(let pool): values.append(Value(reals: maxPool(inputs[0].reals, shapes[0], node.shape, pool)))
      case .globalAveragePool: values.append(Value(reals: average(inputs[0].reals, shapes[0])))
      case .upsampleNearest(let factor):
        values.append(Value(reals: upsample(inputs[0].reals, shapes[0], factor)))
      case .fakeQuantize(let fakeQuantize):
        let parameters = try QuantizationParameters(
          scale: model.activationScales[node.name] ?? 0, zeroPoint: 0, range: fakeQuantize.range.integers)
        let integers = inputs[0].reals.map { parameters.quantize($0).integer }
        values.append(
          Value(reals: integers.map { parameters.dequantize($0) }, integers: integers, scale: parameters.scale))
      case .batchNorm: preconditionFailure("a deployed model has no BatchNorm")
      }
    }
    return values[model.graph.outputs[0].node.index].reals
  }

  private func convolve(_ node: Node, _ input: Value, _ shape: TensorShape, _ convolution: Convolution) -> Value {
    slide(
      node, input, shape,
      (convolution.kernel, convolution.stride, convolution.padding, convolution.outputChannels))
  }

  private func slide(
    _ node: Node, _ input: Value, _ shape: TensorShape,
    _ window: (kernel: Int, stride: Int, padding: Int, outputs: Int)
  ) -> Value {
    guard let layer = model.layers[node.name] else { preconditionFailure("no layer \(node.name)") }
    var output = [Float](repeating: 0, count: node.shape.elementCount)
    for y in 0..<node.shape.height {
      for x in 0..<node.shape.width {
        for channel in 0..<window.outputs {
          var (exact, real) = (Int32(0), Float(0))
          for ky in 0..<window.kernel {
            for kx in 0..<window.kernel {
              let (row, column) = (y * window.stride + ky - window.padding, x * window.stride + kx - window.padding)
              guard (0..<shape.height).contains(row), (0..<shape.width).contains(column) else { continue }
              for inputChannel in 0..<shape.channels {
                let source = (row * shape.width + column) * shape.channels + inputChannel
                let weight = ((ky * window.kernel + kx) * shape.channels + inputChannel) * window.outputs + channel
                switch layer.weights {
                case .quantized(let weights): exact += input.integers[source] * Int32(weights.integers[weight])
                case .float(let weights): real += input.reals[source] * weights[weight]
                }
              }
            }
          }
          if case .quantized(let weights) = layer.weights {
            real = Float(exact) * (input.scale * weights.scales[channel])
          }
          output[(y * node.shape.width + x) * window.outputs + channel] = real + layer.bias[channel]
        }
      }
    }
    return Value(reals: output)
  }

  private func maxPool(_ input: [Float], _ shape: TensorShape, _ output: TensorShape, _ pool: MaxPool) -> [Float] {
    var result = [Float](repeating: -.infinity, count: output.elementCount)
    for y in 0..<output.height {
      for x in 0..<output.width {
        for row in y * pool.stride - pool.padding..<y * pool.stride - pool.padding + pool.kernel {
          for column in x * pool.stride - pool.padding..<x * pool.stride - pool.padding + pool.kernel {
            guard (0..<shape.height).contains(row), (0..<shape.width).contains(column) else { continue }
            for channel in 0..<shape.channels {
              let target = (y * output.width + x) * shape.channels + channel
              result[target] = max(result[target], input[(row * shape.width + column) * shape.channels + channel])
            }
          }
        }
      }
    }
    return result
  }

  private func average(_ input: [Float], _ shape: TensorShape) -> [Float] {
    (0..<shape.channels).map { channel in
      let sum = (0..<shape.pixelCount).reduce(0) { $0 + Double(input[$1 * shape.channels + channel]) }
      return Float(sum / Double(shape.pixelCount))
    }
  }

  private func upsample(_ input: [Float], _ shape: TensorShape, _ factor: Int) -> [Float] {
    (0..<shape.height * factor).flatMap { y in
      (0..<shape.width * factor).flatMap { x in
        let start = ((y / factor) * shape.width + x / factor) * shape.channels
        return input[start..<start + shape.channels]
      }
    }
  }
}
