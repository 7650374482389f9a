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
    let (count, step, range) = (source.count, step, fakeQuantize.range)
    let ranges = builder.floats("\(fused.node.name) ranges", count: 2 * threadCount)
    let observer = observerIndex(fused.node)
    observedRanges.append((observer, ranges))
    guard precision == .quantized else {
      builder.emit("\(fused.node.name) observe", using: [input, ranges]) { part, parts in
        let (minimum, maximum) = kernels.minMax(input.floats, count: count, part: part, of: parts)
        (ranges.floats[2 * part], ranges.floats[2 * part + 1]) = (-minimum, maximum)
      }
      return
    }
    let value = values[fused.output.id]!
    let int8 = builder.tensor("\(fused.node.name) int8", Int8.self, count: count)
    let mask =
      value.requiresGradient
      ? builder.tensor("\(fused.node.name) mask", UInt16.self, count: (count + 15) / 16) : nil
    value.int8 = int8
    value.mask = mask
    let masksReLU = isReLU(fused.sources[0]) && isMaskedByReader(fused.sources[0])
    let using = [input, ranges, int8] + (mask.map { [$0] } ?? [])
    builder.emit("\(fused.node.name) quantize", using: using) { part, parts in
      let inverseScale = 1 / step.activationScales[observer]
      var (lowest, highest) = (Float.infinity, -Float.infinity)
      forEachBlock(of: count, part: part, parts: parts) { start, count in
        let block = UnsafePointer(input.floats + start)
        let (minimum, maximum) = kernels.minMax(block, count: count, part: 0, of: 1)
        (lowest, highest) = (min(lowest, minimum), max(highest, maximum))
        kernels.quantize(
          block, count: count, inverseScale: inverseScale, limit: range.limit, lowest: range.minimum,
          output: int8.int8s + start, mask: mask.map { $0.masks + start / 16 }, part: 0, of: 1)
        if masksReLU, let mask { clearBits(of: mask.masks + start / 16, whereNotPositive: block, count: count) }
      }
      (ranges.floats[2 * part], ranges.floats[2 * part + 1]) = (-lowest, highest)
    }
  }

  private func isReLU(_ id: NodeID) -> Bool { graph[id].operation == .relu }

  /// Merges what the threads saw into the maxima vector.
  mutating func emitObservedRanges() {
    guard !observedRanges.isEmpty else { return }
    let (observed, step, threadCount) = (observedRanges, step, threadCount)
    builder.emitSerial("observed ranges", using: observed.map(\.ranges)) {
      guard let maxima = step.maxima else { return }
      for (observer, ranges) in observed {
        var (first, second) = (-Float.infinity, -Float.infinity)
        for thread in 0..<threadCount {
          first = max(first, ranges.floats[2 * thread])
          second = max(second, ranges.floats[2 * thread + 1])
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
    let count = value.count
    builder.emit("\(fused.node.name) straight through", using: [gradient, mask]) { part, parts in
      kernels.applyMask(
        gradient.floats, count: count, mask: mask.masks, output: gradient.floats, accumulate: false, part: part,
        of: parts)
    }
    give(gradient, to: source, isRounded: value.gradientIsRounded)
  }
}

/// Clears the mask bits of values that are not above zero (NaN keeps its bit, which quantizing has cleared).
///
/// Bits only, no arithmetic on floats, so it need not be a kernel: a float is above zero when its pattern is as an integer.
private func clearBits(of mask: UnsafeMutablePointer<UInt16>, whereNotPositive values: UnsafePointer<Float>, count: Int)
{
  let laneBits = SIMD16<UInt32>(
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
  let patterns = UnsafeRawPointer(values)
  for word in 0..<count / 16 {
    let pattern = patterns.loadUnaligned(fromByteOffset: 64 * word, as: SIMD16<UInt32>.self)
    let isPositive = ((0 &- pattern) & ~pattern) &>> 31
    mask[word] &= UInt16(truncatingIfNeeded: ((0 &- isPositive) & laneBits).wrappedSum())
  }
  for index in count / 16 * 16..<count where !(values[index] > 0) { mask[index / 16] &= ~(1 << UInt16(index % 16)) }
}
