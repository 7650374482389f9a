// Fake-quantize nodes: observing ranges, integers and masks forward, the straight-through estimator backward.

import Graph
import Kernels

extension TrainingLowering {
  /// Emits the forward stages of a fake-quantize node.
  ///
  /// The scale is known before the step ("delayed scaling", design 4.2), so observing and quantizing are one pass over memory.
  mutating func emitFakeQuantize(_ fused: FusedNode, _ fakeQuantize: FakeQuantize) {
    guard precision == .quantized || precision == .calibration else { return }
    let source = values[fused.sources[0]]!
    let input = forwardFloat(fused.sources[0])
    let (perShard, step, range) = (source.countPerShard, step, fakeQuantize.range)
    let partsPerShard = builder.partsPerShard
    let ranges = builder.floats("\(fused.node.name) ranges", count: 2 * shardCount * partsPerShard)
    let observer = observerIndex(fused.node)
    observedRanges.append((observer, ranges))
    let quantized = precision == .quantized ? makeQuantized(fused) : nil
    let masksReLU = isReLU(fused.sources[0]) && isMaskedByReader(fused.sources[0])
    let using = [input, ranges] + [quantized?.int8, quantized?.mask].compactMap(\.self)
    builder.emitShardwise("\(fused.node.name) quantize", using: using) { share in
      let inverseScale = 1 / step.activationScales[observer]
      for shard in share.shards {
        let values = UnsafePointer(input.floats(share) + (shard - share.shards.lowerBound) * perShard)
        let mask = quantized?.mask.map { $0.masks + shard * ((perShard + 15) / 16) }
        var (lowest, highest) = (Float.infinity, -Float.infinity)
        forEachBlock(of: perShard, part: share.part, parts: share.parts) { start, count in
          let block = values + start
          let (minimum, maximum) = kernels.minMax(block, count: count, part: 0, of: 1)
          (lowest, highest) = (min(lowest, minimum), max(highest, maximum))
          guard let int8 = quantized?.int8 else { return }
          kernels.quantize(
            block, count: count, inverseScale: inverseScale, limit: range.limit, lowest: range.minimum,
            output: int8.int8s + shard * perShard + start, mask: mask.map { $0 + start / 16 }, part: 0, of: 1)
          guard masksReLU, let mask else { return }
          kernels.maskPositive(block, count: count, mask: mask + start / 16, intersecting: true, part: 0, of: 1)
        }
        let slot = ranges.floats + 2 * (shard * partsPerShard + share.part)
        (slot[0], slot[1]) = (-lowest, highest)
      }
    }
  }

  /// The tensors of a fake-quantized value.
  private mutating func makeQuantized(_ fused: FusedNode) -> (int8: Tensor, mask: Tensor?) {
    let value = values[fused.output.id]!
    let int8 = builder.tensor("\(fused.node.name) int8", Int8.self, count: value.count)
    value.int8 = int8
    if value.requiresGradient {
      let words = shardCount * value.maskWordsPerShard
      value.mask = builder.tensor("\(fused.node.name) mask", UInt16.self, count: words)
    }
    return (int8, value.mask)
  }

  private func isReLU(_ id: NodeID) -> Bool { graph[id].operation == .relu }

  /// Merges what was seen of every shard into the maxima vector.
  mutating func emitObservedRanges() {
    guard !observedRanges.isEmpty else { return }
    let (observed, step, slots) = (observedRanges, step, shardCount * builder.partsPerShard)
    builder.emitSerial("observed ranges", using: observed.map(\.ranges)) {
      guard let maxima = step.maxima else { return }
      for (observer, ranges) in observed {
        var (first, second) = (-Float.infinity, -Float.infinity)
        for slot in 0..<slots {
          first = max(first, ranges.floats[2 * slot])
          second = max(second, ranges.floats[2 * slot + 1])
        }
        (maxima[2 * observer], maxima[2 * observer + 1]) = (first, second)
      }
    }
  }

  /// The gradient passes where the rounded, unclamped integer was in range.
  mutating func emitFakeQuantizeGradient(_ fused: FusedNode, _ gradient: Tensor) {
    let value = values[fused.output.id]!
    let source = values[fused.sources[0]]!
    guard source.requiresGradient, let mask = value.mask else { return }
    emitMask("\(fused.node.name) straight through", gradient, mask, value)
    give(gradient, to: source, isRounded: value.gradientIsRounded)
  }
}
