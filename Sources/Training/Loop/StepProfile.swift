// Where the time of a step goes: every nanosecond between two marks belongs to one part, so the parts add up to the step.
//
// The training thread marks what it has just finished. A stage in which each thread takes shards through steps of several
// parts is cut in proportion to what its threads noted of each. Costs two clock readings per stage and one per shard and
// step, a thousand in all; without a profile, a comparison with nil.

import Dispatch

/// What the time of a step is spent on.
public enum StepPart: String, Sendable, Hashable, Codable, CaseIterable {
  /// Products of the forward pass, with the element operations between them.
  case forward
  /// Products of the backward pass, with the element operations between them.
  case backward
  /// Fake-quantization of weights and activations, observers, straight-through gradients.
  case quantize
  /// BatchNorm, forward and backward, with the ReLU and residual that are computed in the same pass.
  case batchNorm
  /// The update of weights, moments, statistics and observers.
  case optimizer
  /// Handing over and waiting for the reduction.
  case communication
  /// Waiting for the batch, packing weights, pooling, loss.
  case other
}

/// Collects the time of steps by part.
///
/// The training thread owns it; the pool's threads write to `note` and `begin` in a row of their own.
public final class StepProfile {
  /// One row of 16 words, two cache lines, per thread: the last reading, then the time of each part.
  private static let rowWords = 16
  private let rows: UnsafeMutablePointer<UInt64>
  private let threadCount: Int
  private var last: UInt64 = 0
  private var nanoseconds = [UInt64](repeating: 0, count: StepPart.allCases.count)

  /// A profile of a member that computes with this many threads.
  public init(threadCount: Int) {
    self.threadCount = threadCount
    rows = .allocate(capacity: threadCount * Self.rowWords)
    rows.initialize(repeating: 0, count: threadCount * Self.rowWords)
  }

  deinit { rows.deallocate() }

  /// Nanoseconds by part since the last call of `reset`.
  public var times: [StepPart: UInt64] {
    Dictionary(uniqueKeysWithValues: StepPart.allCases.map { ($0, nanoseconds[$0.index]) })
  }

  /// Forgets what was collected.
  public func reset() {
    for index in nanoseconds.indices { nanoseconds[index] = 0 }
  }

  /// Begins a step: the time before it belongs to nobody.
  func start() { last = Self.now }

  /// Gives the time since the last mark to a part.
  func mark(_ part: StepPart) {
    let now = Self.now
    nanoseconds[part.index] += now - last
    last = now
  }

  /// A thread begins its share of a stage of several parts.
  func begin(thread: Int) { rows[thread * Self.rowWords] = Self.now }

  /// A thread has finished a step of a part.
  func note(_ part: StepPart, thread: Int) {
    let row = rows + thread * Self.rowWords
    let now = Self.now
    row[1 + part.index] += now - row[0]
    row[0] = now
  }

  /// Gives the time since the last mark to the parts that threads have noted since, in proportion; to `part` if none has.
  func markNoted(otherwise part: StepPart) {
    let now = Self.now
    let elapsed = now - last
    last = now
    var noted: UInt64 = 0
    for thread in 0..<threadCount {
      for index in nanoseconds.indices { noted += rows[thread * Self.rowWords + 1 + index] }
    }
    var left = elapsed
    for thread in 0..<threadCount where noted > 0 {
      for index in nanoseconds.indices {
        let slot = rows + thread * Self.rowWords + 1 + index
        let share = min(left, UInt64(Double(elapsed) * Double(slot.pointee) / Double(noted)))
        nanoseconds[index] += share
        left -= share
        slot.pointee = 0
      }
    }
    nanoseconds[part.index] += left
  }

  private static var now: UInt64 { DispatchTime.now().uptimeNanoseconds }
}

extension StepPart {
  /// Place in tables.
  fileprivate var index: Int {
    switch self {
    case .forward: 0
    case .backward: 1
    case .quantize: 2
    case .batchNorm: 3
    case .optimizer: 4
    case .communication: 5
    case .other: 6
    }
  }
}

/// The profile that a program's stages note to, if there is one; stages capture it when they are made.
final class ProfileSlot {
  var profile: StepProfile?
}

extension FusedNode {
  /// What the stages of a node count as.
  func part(isBackward: Bool) -> StepPart {
    switch kind {
    case .convolution, .linear, .relu, .add: isBackward ? .backward : .forward
    case .normalization: .batchNorm
    case .fakeQuantize: .quantize
    case .input, .maxPool, .globalAveragePool, .upsampleNearest: .other
    }
  }
}
