// Which training sample stands at which slot of which batch: a function of (seed, epoch, step, slot), nothing else.
//
// natural:  slot t of the epoch is permutation(seed, epoch)[t]; the samples after the last whole batch are left out,
//           other ones each epoch.
// balanced: a fixed schedule gives each slot of the epoch a class. Counts per class are exact (largest remainder of the
//           shares), and the schedule spreads each class evenly, so every virtual shard sees nearly the same mix. The
//           draws of a class, counted on over epochs, walk through permutations of its samples: pass p is
//           permutation(seed, class, p). So no sample of a class is drawn n + 1 times before every other was drawn n
//           times.

public import JobSpec

/// The sample order of training.
public struct Sampler: Sendable {
  /// Whole batches in an epoch: samples / batch size, rounded down.
  public let stepsPerEpoch: Int
  /// Samples per global batch.
  public let batchSize: Int
  /// Slots per epoch of each class under balanced sampling; empty under natural sampling.
  public let slotsPerClass: [Int]
  private let sampleCount: Int
  private let seed: UInt64
  private let schedule: [ScheduledSlot]
  /// Samples ordered by class, and where each class starts (one more entry than classes).
  private let samplesByClass: [Int32]
  private let classStarts: [Int]

  /// Class of a slot, and how many slots of the same class come before it in the epoch.
  private struct ScheduledSlot: Sendable {
    var label: Int32
    var rank: Int32
  }

  /// Plans the order; allocates here and never again.
  ///
  /// - Parameters:
  ///   - labels: Label of each training sample.
  ///   - classNames: Names of the classes, for shares and messages.
  ///   - sampling: Method and shares of the job.
  ///   - batchSize: Samples per global batch.
  ///   - seed: Seed of the job.
  /// - Throws: `DataError` `.unsuitable` when a batch is larger than the split, a share names an unknown class, or a
  ///   class with a share has no samples.
  public init(
    labels: [Int32], classNames: [String], sampling: JobSpec.Sampling, batchSize: Int, seed: UInt64
  ) throws(DataError) {
    precondition(batchSize > 0, "a batch of \(batchSize)")
    guard labels.count >= batchSize else {
      throw DataError(
        code: .unsuitable, message: "a batch takes \(batchSize) samples; the training split has \(labels.count)",
        hint: "lower training.batchSize", location: "training.batchSize")
    }
    self.batchSize = batchSize
    self.seed = seed
    sampleCount = labels.count
    stepsPerEpoch = labels.count / batchSize
    guard sampling.method == .balanced else {
      slotsPerClass = []
      schedule = []
      samplesByClass = []
      classStarts = []
      return
    }
    var members = Array(repeating: [Int32](), count: classNames.count)
    for (index, label) in labels.enumerated() { members[Int(label)].append(Int32(index)) }
    let shares = try Self.resolve(sampling.shares, classNames: classNames, memberCounts: members.map(\.count))
    let counts = Apportionment.largestRemainder(shares: shares, total: stepsPerEpoch * batchSize)
    slotsPerClass = counts
    samplesByClass = members.flatMap { $0 }
    classStarts = members.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
    var used = Array(repeating: Int32(0), count: counts.count)
    schedule = Apportionment.interleave(counts: counts).map { label in
      defer { used[label] += 1 }
      return ScheduledSlot(label: Int32(label), rank: used[label])
    }
  }

  /// Writes the samples of some slots of one global batch.
  ///
  /// Allocates nothing; any thread may call it.
  ///
  /// - Parameters:
  ///   - epoch: Epoch, counted from 1.
  ///   - step: Step in the epoch, in 0..<stepsPerEpoch.
  ///   - slots: Slots of the global batch, such as those of the virtual shards that a worker holds.
  ///   - indices: Receives `slots.count` sample indices.
  public func fill(epoch: Int, step: Int, slots: Range<Int>, into indices: UnsafeMutableBufferPointer<Int32>) {
    precondition(step >= 0 && step < stepsPerEpoch, "step \(step) of \(stepsPerEpoch)")
    precondition(
      slots.lowerBound >= 0 && slots.upperBound <= batchSize && indices.count == slots.count,
      "slots \(slots) of \(batchSize) into \(indices.count)")
    let first = step * batchSize + slots.lowerBound
    if schedule.isEmpty {
      let order = Permutation(count: sampleCount, random: CounterRandom(seed: seed, .sampleOrder, -1, epoch))
      for offset in 0..<slots.count { indices[offset] = Int32(order[first + offset]) }
    } else {
      for offset in 0..<slots.count { indices[offset] = draw(schedule[first + offset], epoch: epoch) }
    }
  }

  /// Writes the samples of one whole global batch.
  public func fill(epoch: Int, step: Int, into indices: UnsafeMutableBufferPointer<Int32>) {
    fill(epoch: epoch, step: step, slots: 0..<batchSize, into: indices)
  }

  private func draw(_ slot: ScheduledSlot, epoch: Int) -> Int32 {
    let label = Int(slot.label)
    let start = classStarts[label]
    let members = classStarts[label + 1] - start
    let draw = (epoch - 1) * slotsPerClass[label] + Int(slot.rank)
    let pass = draw / members
    let order = Permutation(count: members, random: CounterRandom(seed: seed, .sampleOrder, label, pass))
    return samplesByClass[start + order[draw % members]]
  }

  /// A share for every class: those named, the rest split equally among the others.
  private static func resolve(
    _ named: [String: Double], classNames: [String], memberCounts: [Int]
  ) throws(DataError) -> [Double] {
    for name in named.keys.sorted() where !classNames.contains(name) {
      throw DataError(
        code: .unsuitable, message: "the data has no class \(name)",
        hint: "its classes: \(classNames.joined(separator: ", "))", location: "data.sampling.shares")
    }
    let rest = max(0, 1 - named.sorted { $0.key < $1.key }.reduce(0) { $0 + $1.value })
    let unnamed = classNames.count - named.count
    let shares = classNames.map { named[$0] ?? rest / Double(unnamed) }
    guard shares.contains(where: { $0 > 0 }) else {
      throw DataError(
        code: .unsuitable, message: "every class has share 0", hint: "give one class a share above 0",
        location: "data.sampling.shares")
    }
    for (label, share) in shares.enumerated() where share > 0 && memberCounts[label] == 0 {
      throw DataError(
        code: .unsuitable, message: "class \(classNames[label]) has a share of \(share) and no training sample",
        hint: "give it share 0, or add samples", location: "data.sampling.shares")
    }
    return shares
  }
}
