// Where the numbers of a value are during the forward and the backward pass, and how gradients are collected.

import Graph
import Kernels

extension TrainingLowering {
  /// The Float tensor that a forward stage writes a value's result to.
  mutating func makeFloat(_ value: Value) -> Tensor {
    let isLogits = graph.outputNodes.contains(value.node.id)
    let tensor = builder.shardFloats(
      value.node.name, perShard: value.countPerShard, lifetime: isLogits ? .persistent : .transient)
    value.float = tensor
    return tensor
  }

  /// Ends the computation of a value: keeps it as halves if the backward pass reads it, in fp16 and in the quantized phase,
  /// and rounds it in fp16.
  ///
  /// In the quantized phase the forward pass is exact; what BatchNorm's gradient reads of its input is rounded to 11 bits.
  mutating func finishForward(_ value: Value) {
    guard let float = value.float, precision == .fp16 || precision == .quantized else { return }
    let perShard = value.countPerShard
    let rounds = precision == .fp16
    guard value.isKept else {
      if rounds { emitRounding("\(value.node.name) round", float, perShard: perShard) }
      return emitSigns(value, float)
    }
    let half = builder.tensor("\(value.node.name) half", Float16.self, count: value.count)
    value.half = half
    builder.emitShardwise("\(value.node.name) \(rounds ? "round" : "keep")", using: [float, half]) { share in
      let (floats, halves) = (float.floats(share), half.halves + share.start(perShard))
      forEachBlock(of: share.count(perShard), part: share.part, parts: share.parts) { start, count in
        kernels.convertToHalf(
          floats + start, count: count, output: halves + start, saturating: !rounds, part: 0, of: 1)
        guard rounds else { return }
        kernels.convertToFloat(halves + start, count: count, output: floats + start, part: 0, of: 1)
      }
    }
  }

  /// Keeps where a value is above zero, if that is what the backward pass reads of it.
  private mutating func emitSigns(_ value: Value, _ float: Tensor) {
    guard value.keepsSigns else { return }
    let (perShard, words) = (value.countPerShard, value.maskWordsPerShard)
    let mask = builder.tensor("\(value.node.name) signs", UInt16.self, count: shardCount * words)
    value.mask = mask
    builder.emitShardwise("\(value.node.name) signs", using: [float, mask]) { share in
      for shard in share.shards {
        let floats = float.floats(share) + (shard - share.shards.lowerBound) * perShard
        kernels.maskPositive(
          floats, count: perShard, mask: mask.masks + shard * words, intersecting: false, part: share.part,
          of: share.parts)
      }
    }
  }

  private mutating func emitRounding(_ label: String, _ tensor: Tensor, perShard: Int) {
    builder.emitShardwise(label, using: [tensor]) { share in
      let floats = tensor.floats(share)
      kernels.roundToHalf(floats, count: share.count(perShard), output: floats, part: share.part, of: share.parts)
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
      float = builder.shardFloats("\(value.node.name) widened", perShard: value.countPerShard)
      let perShard = value.countPerShard
      builder.emitShardwise("\(value.node.name) widen", using: [half, float]) { share in
        let start = share.start(perShard)
        kernels.convertToFloat(
          half.halves + start, count: share.count(perShard), output: float.floats(share), part: share.part,
          of: share.parts)
      }
    } else {
      float = value.float!
    }
    value.backwardFloat = float
    return float
  }

  private mutating func dequantized(_ value: Value) -> Tensor {
    let (int8, observer, perShard, step) = (value.int8!, value.observer!, value.countPerShard, step)
    let float = builder.shardFloats("\(value.node.name) dequantized", perShard: value.countPerShard)
    let part = builder.part
    builder.part = .quantize
    defer { builder.part = part }
    builder.emitShardwise("\(value.node.name) dequantize", using: [int8, float]) { share in
      let start = share.start(perShard)
      kernels.dequantize(
        int8.int8s + start, count: share.count(perShard), scale: step.activationScales[observer],
        output: float.floats(share), part: share.part, of: share.parts)
    }
    return float
  }

  /// The finished gradient of a value, rounded in fp16; `nil` when nothing contributed.
  mutating func finishedGradient(_ value: Value) -> Tensor? {
    guard let gradient = value.gradient else { return nil }
    if precision == .fp16, !value.gradientIsRounded {
      emitRounding("\(value.node.name) round gradient", gradient, perShard: value.countPerShard)
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
    emitAccumulate("\(value.node.name) add gradient", gradient, into: total, perShard: value.countPerShard)
    value.gradientIsRounded = false
  }

  /// Adds a gradient to what is there.
  mutating func emitAccumulate(_ label: String, _ gradient: Tensor, into total: Tensor, perShard: Int) {
    builder.emitShardwise(label, using: [total, gradient]) { share in
      kernels.accumulate(
        gradient.floats(share), count: share.count(perShard), into: total.floats(share), part: share.part,
        of: share.parts)
    }
  }

  /// Clears a gradient where a ReLU's result is not above zero, in place.
  mutating func emitReLUMask(_ label: String, _ gradient: Tensor, result: Value) {
    if result.keepsSigns, let mask = result.mask { return emitMask(label, gradient, mask, result) }
    let (activation, perShard) = (backwardFloat(result.node.id), result.countPerShard)
    builder.emitShardwise(label, using: [gradient, activation]) { share in
      let floats = gradient.floats(share)
      kernels.reluBackward(
        floats, activation: activation.floats(share), count: share.count(perShard),
        gradientInput: floats, accumulate: false, part: share.part, of: share.parts)
    }
  }

  /// Clears a gradient where the mask of its value is not set, in place.
  mutating func emitMask(_ label: String, _ gradient: Tensor, _ mask: Tensor, _ value: Value) {
    let (perShard, words) = (value.countPerShard, value.maskWordsPerShard)
    builder.emitShardwise(label, using: [gradient, mask]) { share in
      for shard in share.shards {
        let floats = gradient.floats(share) + (shard - share.shards.lowerBound) * perShard
        kernels.applyMask(
          floats, count: perShard, mask: mask.masks + shard * words, output: floats, accumulate: false,
          part: share.part, of: share.parts)
      }
    }
  }

  /// The tensor that a stage writes a contribution to, and whether it must add to what is there.
  mutating func gradientTarget(_ value: Value) -> (tensor: Tensor, accumulate: Bool) {
    value.gradientIsRounded = false
    if let gradient = value.gradient { return (gradient, true) }
    let gradient = builder.shardFloats("\(value.node.name) gradient", perShard: value.countPerShard)
    value.gradient = gradient
    return (gradient, false)
  }

  /// A new tensor for a contribution of a kernel that only overwrites; `give` it afterwards.
  mutating func contribution(to value: Value) -> Tensor {
    builder.shardFloats("\(value.node.name) gradient", perShard: value.countPerShard)
  }
}
