// What a job must come to: the training state is a chain of hashes. A step's update is the sum over the virtual shards of a number
// that depends on state, step and shard, as a gradient does; so a shard that is missing, taken twice, or computed on another state
// shows in every later state, and the assignment of shards to workers does not.
import Data

/// One job's course without faults; shared by all that happens in one world.
final class Reference {
  let seed: UInt64
  let shardCount: Int
  private var states: [UInt64]

  init(seed: UInt64, shardCount: Int) {
    self.seed = seed
    self.shardCount = shardCount
    states = [CounterRandom.mix(seed)]
  }

  /// The state before the first step.
  var initial: UInt64 { states[0] }

  /// The state after `step` committed steps.
  func state(after step: UInt64) -> UInt64 {
    while states.count <= Int(step) {
      let step = UInt64(states.count - 1)
      let sum = Self.part(states[Int(step)], step, 0..<shardCount)
      states.append(Self.next(states[Int(step)], sum: sum))
    }
    return states[Int(step)]
  }

  /// What the members that hold these shards add to the sum of a step.
  static func part(_ state: UInt64, _ step: UInt64, _ shards: Range<Int>) -> UInt64 {
    shards.reduce(0) { $0 &+ CounterRandom.mix(state &+ step &* 0xA24B_AED4_963E_E407 &+ UInt64($1 + 1)) }
  }

  /// The state after a step.
  static func next(_ state: UInt64, sum: UInt64) -> UInt64 { CounterRandom.mix(state ^ sum) }
}
