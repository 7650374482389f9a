// The reducer of several members in one process: the tree finished by hand, as the cluster's reducer must finish it.

import Foundation
import Kernels
import Training

/// What the members of one in-process generation share.
///
/// `@unchecked Sendable` because everything is touched under `condition` only.
final class InProcessHub: @unchecked Sendable {
  struct Lost: Error {}

  private struct Member {
    var pieces: [(range: Range<Int>, values: UnsafeMutablePointer<Float>)] = []
    var result: UnsafeMutablePointer<Float>?
    var maxima: UnsafeMutablePointer<Float>?
    var block: [UInt8] = []
  }

  private let plan: ReductionPlan
  private let shardCount: Int
  private let condition = NSCondition()
  private var members: [Member]
  private var arrived = 0
  private var round = 0
  private var gathered: [UInt8] = []
  /// Fails the reduction of this step once it is reached.
  private let failingStep: UInt64?
  private var isLost = false
  private var memory: FloatVector?
  private(set) var meetings = 0
  /// The step that was begun last.
  private(set) var latestStep: UInt64?

  init(plan: ReductionPlan, shardCount: Int, worldSize: Int, failingStep: UInt64? = nil) {
    self.plan = plan
    self.shardCount = shardCount
    self.failingStep = failingStep
    members = [Member](repeating: Member(), count: worldSize)
  }

  var worldSize: Int { condition.withLock { members.count } }

  /// How a member shares the loading of weights with the others; all but the first are late with every part.
  func loadSharing(rank: Int) -> LoadSharing {
    LoadSharing(rank: rank, worldSize: worldSize) { [self] count in
      meet { $0.memory = FloatVector(count: count) }
      return condition.withLock { memory }
    } meet: { [self] in
      meet { $0.meetings += 1 }
      delay(rank)
    }
  }

  func delay(_ rank: Int) { if rank > 0 { Thread.sleep(forTimeInterval: 0.005) } }

  func register(
    rank: Int, step: UInt64, pieces: [(range: Range<Int>, values: UnsafeMutablePointer<Float>)],
    result: UnsafeMutablePointer<Float>, maxima: UnsafeMutablePointer<Float>
  ) {
    condition.withLock {
      latestStep = step
      members[rank].pieces = pieces
      members[rank].result = result
      members[rank].maxima = maxima
      if step == failingStep { isLost = true }
    }
  }

  func reduce() throws {
    meet { $0.finish() }
    if condition.withLock({ isLost }) { throw Lost() }
  }

  func gather(rank: Int, block: [UInt8]) -> [UInt8] {
    condition.withLock { members[rank].block = block }
    meet { $0.gathered = $0.members.flatMap(\.block) }
    return condition.withLock { gathered }
  }

  /// Waits for all members; the last to arrive does the work.
  private func meet(_ work: (InProcessHub) -> Void) {
    condition.lock()
    defer { condition.unlock() }
    let own = round
    arrived += 1
    if arrived == members.count {
      work(self)
      arrived = 0
      round += 1
      condition.broadcast()
    }
    while round == own { condition.wait() }
  }

  private func finish() {
    let sum = node(0..<shardCount, members.flatMap(\.pieces))
    withExtendedLifetime(sum) {
      for member in members { member.result?.update(from: sum.pointer, count: plan.sumCount) }
    }
    for index in 0..<plan.maximumCount {
      let values = members.compactMap { $0.maxima?[index] }
      let largest = values.max() ?? 0
      for member in members { member.maxima?[index] = largest }
    }
  }

  /// The sum of a node of the tree: a piece as it came, else left + right.
  private func node(
    _ range: Range<Int>, _ pieces: [(range: Range<Int>, values: UnsafeMutablePointer<Float>)]
  ) -> FloatVector {
    let sum = FloatVector(count: plan.sumCount)
    if let piece = pieces.first(where: { $0.range == range }) {
      sum.pointer.update(from: piece.values, count: plan.sumCount)
      return sum
    }
    let middle = (range.lowerBound + range.upperBound) / 2
    let (left, right) = (node(range.lowerBound..<middle, pieces), node(middle..<range.upperBound, pieces))
    withExtendedLifetime((left, right)) {
      kernels.addTree(
        left: left.pointer, right: right.pointer, into: sum.pointer, count: plan.sumCount, part: 0, of: 1)
    }
    return sum
  }
}

/// One member's end of an `InProcessHub`; also checks the order of calls that the protocol promises.
final class InProcessReducer: Reducer {
  private let hub: InProcessHub
  private let rank: Int
  private let plan: ReductionPlan
  private let pieces: [Range<Int>]
  private var nextBucket = 0
  private var hasMaxima = false
  private var result: UnsafeMutablePointer<Float>?
  private var finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)?

  init(hub: InProcessHub, rank: Int, plan: ReductionPlan, shards: Range<Int>) {
    self.hub = hub
    self.rank = rank
    self.plan = plan
    pieces = ShardAssignment.pieces(of: shards)
  }

  func begin(
    step: UInt64, pieces: [UnsafeMutablePointer<Float>], result: UnsafeMutablePointer<Float>,
    maxima: UnsafeMutablePointer<Float>, halfScale: Float, finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)?
  ) {
    precondition(halfScale == 0, "this hub sums floats")
    self.finishing = finishing
    precondition(pieces.count == self.pieces.count)
    hub.register(rank: rank, step: step, pieces: Array(zip(self.pieces, pieces)), result: result, maxima: maxima)
    self.result = result
    nextBucket = 0
    hasMaxima = false
  }

  func submit(bucket: Int) {
    precondition(bucket == nextBucket, "bucket \(bucket) submitted, \(nextBucket) is next")
    nextBucket += 1
  }

  func submitMaxima() { hasMaxima = true }

  func wait() throws -> Bool {
    precondition(nextBucket == plan.buckets.count && hasMaxima, "only \(nextBucket) buckets were submitted")
    try hub.reduce()
    defer { if finishing != nil { hub.delay(rank) } }
    let isFinite = UnsafeBufferPointer(start: result, count: plan.parameterRange.count).allSatisfy(\.isFinite)
    if let finishing {
      // In pieces that begin anywhere, and not in order.
      for bucket in plan.buckets.reversed() where plan.parameterRange.contains(bucket.lowerBound) {
        let (count, worldSize) = (bucket.count, hub.worldSize)
        let start = bucket.lowerBound + count * rank / worldSize
        if let result { finishing(start..<bucket.lowerBound + count * (rank + 1) / worldSize, result + start) }
      }
      _ = hub.gather(rank: rank, block: [])
    }
    return isFinite
  }

  func gather(_ own: UnsafeRawBufferPointer, byteCounts: [Int]) -> [UInt8] {
    precondition(byteCounts[rank] == own.count)
    return hub.gather(rank: rank, block: [UInt8](own))
  }
}
