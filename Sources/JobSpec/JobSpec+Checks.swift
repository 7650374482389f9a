// What must hold between keys, and what is allowed but worth a warning.

/// Keys that contradict each other.
struct SchemaConflict {
  /// The keys involved; the fault is placed at the last one that was given.
  var paths: [String]
  var message: String
  var hint: String?
}

extension JobSpec {
  /// Combinations that are allowed but probably not meant, as sentences for the log.
  public var warnings: [String] {
    var warnings: [String] = []
    if quantization.enabled, quantization.startEpoch > training.epochs {
      warnings.append(
        "quantization.startEpoch is \(quantization.startEpoch) but training.epochs is \(training.epochs): "
          + "the job has no quantized phase")
    }
    if cluster.minimumWorkers > training.virtualShards {
      warnings.append(
        "cluster.minimumWorkers is \(cluster.minimumWorkers) but training.virtualShards is "
          + "\(training.virtualShards): further workers hold no shard")
    }
    return warnings
  }

  /// Every contradiction between keys.
  func conflicts() -> [SchemaConflict] {
    dataConflicts() + trainingConflicts() + quantizationConflicts()
  }

  private func dataConflicts() -> [SchemaConflict] {
    var conflicts: [SchemaConflict] = []
    let mean = data.normalization.mean.count
    let deviation = data.normalization.deviation.count
    if mean != deviation {
      conflicts.append(
        SchemaConflict(
          paths: ["data.normalization.mean", "data.normalization.deviation"],
          message: "data.normalization.mean has \(mean) values and deviation has \(deviation)",
          hint: "give one of each, or one per channel"))
    }
    let shareSum = data.sampling.shares.sorted { $0.key < $1.key }.reduce(0) { $0 + $1.value }
    if shareSum > 1 + 1e-9 {
      conflicts.append(
        SchemaConflict(
          paths: ["data.sampling.shares"], message: "the shares of data.sampling.shares add up to \(shareSum)",
          hint: "shares are of one epoch; their sum is at most 1, the rest goes to the classes not named"))
    }
    guard data.source == .strip else { return conflicts }
    if mean == deviation && mean != 1 {
      conflicts.append(
        SchemaConflict(
          paths: ["data.normalization.mean"], message: "data.normalization has \(mean) channels; the strip is gray",
          hint: "give one mean and one deviation"))
    }
    if data.strip.size % 8 != 0 {
      conflicts.append(
        SchemaConflict(
          paths: ["data.strip.size"], message: "data.strip.size is \(data.strip.size), not a multiple of 8", hint: nil))
    }
    if data.augmentation.shift >= data.strip.size {
      conflicts.append(
        SchemaConflict(
          paths: ["data.strip.size", "data.augmentation.shift"],
          message: "data.augmentation.shift is \(data.augmentation.shift); patches have \(data.strip.size) pixels",
          hint: "shift by less than the size of an image"))
    }
    if data.strip.mix.shares.allSatisfy({ $0 == 0 }) {
      conflicts.append(
        SchemaConflict(
          paths: ["data.strip.mix.background"], message: "every share of data.strip.mix is 0",
          hint: "the default is 92, 3, 2, 2, 1"))
    }
    for (path, names) in [
      ("data.rareClasses", data.rareClasses), ("data.sampling.shares", data.sampling.shares.keys.sorted()),
    ] {
      for name in names where !Strip.classNames.contains(name) {
        conflicts.append(
          SchemaConflict(
            paths: [path], message: "\(path) names \(name), which the strip does not have",
            hint: Suggestions.nearest(to: name, in: Strip.classNames).map { "did you mean \($0)?" }
              ?? "classes of the strip: \(Strip.classNames.joined(separator: ", "))"))
      }
    }
    return conflicts
  }

  private func trainingConflicts() -> [SchemaConflict] {
    var conflicts: [SchemaConflict] = []
    let channels = model.channels
    if channels.contains(where: { $0 % 8 != 0 || $0 == 0 }) || channels[0] * 8 != channels[3] {
      conflicts.append(
        SchemaConflict(
          paths: ["model.width"],
          message: "model.width \(model.width) gives \(channels.map(String.init).joined(separator: ", ")) channels",
          hint: "they must be multiples of 8: use a multiple of 0.125"))
    }
    let shards = training.virtualShards
    if shards & (shards - 1) != 0 {
      conflicts.append(
        SchemaConflict(
          paths: ["training.virtualShards"], message: "training.virtualShards is \(shards), not a power of two",
          hint: "use 1, 2, 4, 8, 16, 32 or 64"))
    } else if training.batchSize % shards != 0 {
      conflicts.append(
        SchemaConflict(
          paths: ["training.virtualShards", "training.batchSize"],
          message: "training.batchSize is \(training.batchSize), not a multiple of training.virtualShards (\(shards))",
          hint: "use \(max(shards, training.batchSize / shards * shards)), or fewer shards"))
    }
    if training.schedule.warmupEpochs > Double(training.epochs) {
      conflicts.append(
        SchemaConflict(
          paths: ["training.epochs", "training.schedule.warmupEpochs"],
          message:
            "training.schedule.warmupEpochs is \(training.schedule.warmupEpochs), training.epochs \(training.epochs)",
          hint: "warm up for a part of the job"))
    }
    let initial = training.lossScale.initial
    if initial.significand != 1 {
      conflicts.append(
        SchemaConflict(
          paths: ["training.lossScale.initial"],
          message: "training.lossScale.initial is \(initial), not a power of two",
          hint: "use 65536; powers of two scale without rounding"))
    }
    if cluster.minimumWorkers > cluster.maximumWorkers {
      conflicts.append(
        SchemaConflict(
          paths: ["cluster.maximumWorkers", "cluster.minimumWorkers"],
          message:
            "cluster.minimumWorkers is \(cluster.minimumWorkers), cluster.maximumWorkers \(cluster.maximumWorkers)",
          hint: "the minimum must not be above the maximum"))
    }
    return conflicts
  }

  private func quantizationConflicts() -> [SchemaConflict] {
    guard quantization.enabled else { return [] }
    var conflicts: [SchemaConflict] = []
    for (name, epoch) in [
      ("freezeObserversEpoch", quantization.freezeObserversEpoch),
      ("freezeBatchNormEpoch", quantization.freezeBatchNormEpoch),
    ] where epoch != 0 && epoch < quantization.startEpoch {
      conflicts.append(
        SchemaConflict(
          paths: ["quantization.startEpoch", "quantization.\(name)"],
          message: "quantization.\(name) is \(epoch), before quantization.startEpoch (\(quantization.startEpoch))",
          hint: "freeze in the quantized phase, or use 0 for never"))
    }
    return conflicts
  }
}
