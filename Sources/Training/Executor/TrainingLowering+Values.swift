// Where the numbers of a value are during the forward and the backward pass, and how gradients are collected.

import Graph
import Kernels

extension TrainingLowering {
  /// The Float tensor that a forward stage writes a value's result to.
  mutating func makeFloat(_ value: Value) -> Tensor {
    let isLogits = graph.outputNodes.contains(value.node.id)
    let tensor = builder.floats(
      value.node.name, count: value.count, lifetime: isLogits ? .persistent : .transient)
    value.float = tensor
    return tensor
  }

  /// Ends the computation of a value: in fp16 rounds it, and keeps the halves if the backward pass reads them.
  mutating func finishForward(_ value: Value) {
    guard precision == .fp16, let float = value.float else { return }
    let count = value.count
    guard value.isKept else {
      builder.emit("\(value.node.name) round", using: [float]) { part, parts in
        kernels.roundToHalf(float.floats, count: count, output: float.floats, part: part, of: parts)
      }
      return
    }
    let half = builder.tensor("\(value.node.name) half", Float16.self, count: count)
    value.half = half
    builder.emit("\(value.node.name) round", using: [float, half]) { part, parts in
      forEachBlock(of: count, part: part, parts: parts) { start, count in
        kernels.convertToHalf(float.floats + start, count: count, output: half.halves + start, part: 0, of: 1)
        kernels.convertToFloat(half.halves + start, count: count, output: float.floats + start, part: 0, of: 1)
      }
    }
  }

  /// The value's numbers for a forward stage.
  mutating func forwardFloat(_ id: NodeID) -> Tensor {
    let value = values[id]!
    if let float = value.float { return float }
    let float = dequantized(value)
    value.float = float
    return float
  }

  /// The value's numbers for a backward stage.
  mutating func backwardFloat(_ id: NodeID) -> Tensor {
    let value = values[id]!
    if let float = value.backwardFloat { return float }
    let float: Tensor
    if value.int8 != nil {
      float = dequantized(value)
    } else if let half = value.half {
      float = builder.floats("\(value.node.name) widened", count: value.count)
      let count = value.count
      builder.emit("\(value.node.name) widen", using: [half, float]) { part, parts in
        kernels.convertToFloat(half.halves, count: count, output: float.floats, part: part, of: parts)
      }
    } else {
      float = value.float!
    }
    value.backwardFloat = float
    return float
  }

  private mutating func dequantized(_ value: Value) -> Tensor {
    let (int8, observer, count, step) = (value.int8!, value.observer!, value.count, step)
    let float = builder.floats("\(value.node.name) dequantized", count: count)
    builder.emit("\(value.node.name) dequantize", using: [int8, float]) { part, parts in
      kernels.dequantize(
        int8.int8s, count: count, scale: step.activationScales[observer], output: float.floats, part: part, of: parts)
    }
    return float
  }

  /// The finished gradient of a value, rounded in fp16; `nil` when nothing contributed.
  mutating func finishedGradient(_ value: Value) -> Tensor? {
    guard let gradient = value.gradient else { return nil }
    if precision == .fp16, !value.gradientIsRounded {
      let count = value.count
      builder.emit("\(value.node.name) round gradient", using: [gradient]) { part, parts in
        kernels.roundToHalf(gradient.floats, count: count, output: gradient.floats, part: part, of: parts)
      }
      value.gradientIsRounded = true
    }
    return gradient
  }

  /// Hands a gradient tensor over to a value; the giver may not write it afterwards.
  mutating func give(_ gradient: Tensor, to value: Value, isRounded: Bool) {
    guard value.requiresGradient else { return }
    guard let total = value.gradient else {
      value.gradient = gradient
      value.gradientIsRounded = isRounded
      return
    }
    let count = value.count
    builder.emit("\(value.node.name) add gradient", using: [total, gradient]) { part, parts in
      kernels.accumulate(gradient.floats, count: count, into: total.floats, part: part, of: parts)
    }
    value.gradientIsRounded = false
  }

  /// The tensor that a stage writes a contribution to, and whether it must add to what is there.
  mutating func gradientTarget(_ value: Value) -> (tensor: Tensor, accumulate: Bool) {
    value.gradientIsRounded = false
    if let gradient = value.gradient { return (gradient, true) }
    let gradient = builder.floats("\(value.node.name) gradient", count: value.count)
    value.gradient = gradient
    return (gradient, false)
  }

  /// A new tensor for a contribution of a kernel that only overwrites; `give` it afterwards.
  mutating func contribution(to value: Value) -> Tensor {
    builder.floats("\(value.node.name) gradient", count: value.count)
  }
}
