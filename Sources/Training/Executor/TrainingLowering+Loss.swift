// Softmax cross-entropy, and what a forward pass adds to the sum vector: loss, correct count, BatchNorm statistics.

import Graph
import Kernels

extension TrainingLowering {
  /// Losses and correct predictions of every sample, summed by shard and combined by piece.
  mutating func emitLoss(logits: Tensor, classes: Int) {
    let (step, samples, shards) = (step, samples, shardCount)
    let samplesPerShard = assignment.samplesPerShard
    let losses = builder.floats("losses", count: samples)
    let correct = builder.floats("correct", count: samples)
    builder.emit("loss", using: [logits, losses, correct]) { part, parts in
      kernels.softmaxCrossEntropy(
        logits.floats, samples: samples, classes: classes, labels: step.labels, smoothing: step.labelSmoothing,
        gradientScale: 1, losses: losses.floats, gradient: nil, part: part, of: parts)
      for sample in samples * part / parts..<samples * (part + 1) / parts {
        let row = UnsafeBufferPointer(start: logits.floats + sample * classes, count: classes)
        var best = 0
        for candidate in 1..<max(classes, 1) where row[candidate] > row[best] { best = candidate }
        correct.floats[sample] = best == Int(step.labels[sample]) ? 1 : 0
      }
    }
    let shardSums = builder.floats("loss by shard", count: shards)
    let (pieces, lossTable) = (localPieces, pieceTable(offset: reduction.lossIndex))
    let correctTable = pieceTable(offset: reduction.correctIndex)
    builder.emitSerial("loss sums", using: [losses, correct, shardSums]) {
      for (values, table) in [(losses, lossTable), (correct, correctTable)] {
        kernels.sumRows(values.floats, rows: shards, count: samplesPerShard, output: shardSums.floats)
        kernels.combineShards(
          shardSums.floats, count: 1, pieces: pieces.buffer, outputs: table.pointers, part: 0, of: 1)
      }
    }
  }

  /// The loss's gradient with respect to the logits.
  mutating func emitLossGradient(of value: Value, logits: Tensor, classes: Int) {
    let (step, samples) = (step, samples)
    let losses = builder.floats("losses", count: samples)
    let (gradient, _) = gradientTarget(value)
    builder.emit("loss gradient", using: [logits, losses, gradient]) { part, parts in
      kernels.softmaxCrossEntropy(
        logits.floats, samples: samples, classes: classes, labels: step.labels, smoothing: step.labelSmoothing,
        gradientScale: step.gradientScale, losses: losses.floats, gradient: gradient.floats, part: part, of: parts)
    }
  }

  /// Batch means and unbiased variances of all BatchNorm layers, combined by piece.
  mutating func emitStatistics() {
    let layers = fused.compactMap { normalizations[$0.node.id] }
    guard !layers.isEmpty else { return }
    let (step, shards, pieces) = (step, shardCount, localPieces)
    let unbiased = layers.map { builder.floats("\($0.node.name) unbiased", count: shards * $0.channels) }
    builder.emit("batch statistics", using: layers.flatMap { [$0.mean, $0.variance] } + unbiased) { part, parts in
      for index in stride(from: part, to: layers.count, by: parts) {
        let (layer, variance) = (layers[index], unbiased[index])
        let rows = Float(layer.rowsPerShard)
        let factor = step.frozenStatistics == nil ? rows / (rows - 1) : 1
        for element in 0..<shards * layer.channels {
          variance.floats[element] = layer.variance.floats[element] * factor
        }
        kernels.combineShards(
          layer.mean.floats, count: layer.channels, pieces: pieces.buffer, outputs: layer.batchMeans.pointers, part: 0,
          of: 1)
        kernels.combineShards(
          variance.floats, count: layer.channels, pieces: pieces.buffer, outputs: layer.batchVariances.pointers,
          part: 0, of: 1)
      }
    }
  }
}
