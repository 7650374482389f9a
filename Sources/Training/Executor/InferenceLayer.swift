// Weights of a deployed layer in the form that the kernels take.

import Graph
import Kernels
import Quantization

/// Weights of one layer, packed once.
final class InferenceLayer {
  let plan: ConvolutionPlan
  /// For `convolveForward` or `convolveInt8`.
  let packed: Tensor
  /// Scale of the integer products [K]; unused in float.
  let scales: Tensor
  let bias: Tensor
  private var fill: ((InferenceLayer) -> Void)?

  /// A layer in float; weights in kernel order.
  init(floats: [Float], bias: [Float], geometry: ConvolutionGeometry, _ builder: inout ProgramBuilder) {
    plan = ConvolutionPlan(geometry)
    packed = builder.floats("packed", count: plan.packedWeightCount, lifetime: .persistent)
    scales = builder.floats("scales", count: geometry.outputChannels, lifetime: .persistent)
    self.bias = builder.floats("bias", count: geometry.outputChannels, lifetime: .persistent)
    fill = { layer in
      layer.bias.floats.update(from: bias, count: bias.count)
      kernels.packWeights(layer.plan, weights: floats, into: layer.packed.floats, part: 0, of: 1)
    }
  }

  /// A layer in integers.
  init(
    integers: QuantizedWeights, inputScale: Float, bias: [Float], geometry: ConvolutionGeometry,
    _ builder: inout ProgramBuilder
  ) {
    plan = ConvolutionPlan(geometry)
    packed = builder.tensor("packed", UInt8.self, count: plan.packedInt8ByteCount, lifetime: .persistent)
    scales = builder.floats("scales", count: geometry.outputChannels, lifetime: .persistent)
    self.bias = builder.floats("bias", count: geometry.outputChannels, lifetime: .persistent)
    fill = { layer in
      layer.bias.floats.update(from: bias, count: bias.count)
      for (channel, scale) in integers.scales.enumerated() { layer.scales.floats[channel] = inputScale * scale }
      kernels.packInt8Weights(layer.plan, weights: integers.integers, into: layer.packed.bytes, part: 0, of: 1)
    }
  }

  /// Writes the packed weights, once memory is planned.
  func pack() {
    fill?(self)
    fill = nil
  }
}
