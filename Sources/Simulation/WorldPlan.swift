// What a world is like, drawn from its seed: machines, jobs, network, and how rough it gets.
import Coordinator
import Worker

/// The conditions of one simulated cluster; times in microseconds.
struct WorldPlan {
  /// Machines that run one worker each.
  var slotCount: Int
  /// Clients that submit one job after the other.
  var clientCount: Int
  /// Mean delay of a message.
  var delay: Int64
  /// Mean time between two faults.
  var faultInterval: Int64
  /// When faults stop and no more jobs are submitted.
  var faultEnd: Int64
  /// Restart of a worker that has ended.
  var workerRestart: Int64
  /// Restart of a coordinator that has ended.
  var coordinatorRestart: Int64
  /// Whether faults hit machines, links and disks of all kinds, or only kill.
  var hasAllFaults: Bool
  /// Nothing goes wrong: workers only come and go as people wish.
  var isCalm: Bool

  init(_ dice: inout Dice, hours: Double) {
    slotCount = Int(dice.roll(2...6))
    clientCount = Int(dice.roll(1...3))
    delay = [200, 2_000, 20_000, 100_000][dice.index(4)]
    faultInterval = dice.roll(3...14) * 1_000_000
    faultEnd = Int64(hours * 3600e6)
    workerRestart = dice.roll(1...6) * 1_000_000
    coordinatorRestart = dice.roll(500...4_000) * 1_000
    hasAllFaults = !dice.chance(perMille: 200)
    isCalm = dice.chance(perMille: 50)
  }
}

/// What one job is like.
struct JobPlan {
  let seed: UInt64
  let settings: JobSettings
  let milestones: Milestones
  /// Time that one virtual shard of a step takes on a machine of speed 1.
  let shardTime: Int64
  let evaluationTime: Int64
  /// Pieces of its data set, each one request.
  let pieceCount: Int
  /// Checkpoints to keep.
  let keep: Int

  init(_ dice: inout Dice, slotCount: Int) {
    seed = dice.next()
    let shardCount = 1 << Int(dice.roll(2...4))
    let minimum = Int(dice.roll(1...Int64(max(1, min(slotCount - 1, 3)))))
    settings = JobSettings(
      shardCount: shardCount, minimumWorkers: minimum, maximumWorkers: max(minimum, Int(dice.roll(2...8))),
      joinWindow: .milliseconds(dice.roll(200...2000)), hang: .seconds(10), priority: Int(dice.roll(0...2)))
    milestones = Milestones(
      stepsPerEpoch: Int(dice.roll(5...25)), epochs: Int(dice.roll(2...6)),
      checkpointEveryEpochs: Int(dice.roll(0...2)), checkpointEverySteps: Int(dice.roll(0...12)),
      evaluateEveryEpochs: Int(dice.roll(0...2)))
    shardTime = dice.roll(500...8_000) * 1_000 / Int64(shardCount)
    evaluationTime = dice.roll(500...20_000) * 1_000
    pieceCount = Int(dice.roll(2...6))
    keep = Int(dice.roll(1...3))
  }
}
