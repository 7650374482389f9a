// The simulator's store against SQLite: the same changes give the same memory.
import Foundation
import RunStore
import Testing

@testable import Simulation

@Suite("The model of the store")
struct StoreModelTests {
  /// A course of changes as a coordinator decides them, drawn from a seed.
  private func decisions(seed: UInt64) -> [[StoreChange]] {
    var dice = Dice(seed: seed)
    var decisions: [[StoreChange]] = []
    for number in 1...3 as ClosedRange<UInt64> {
      decisions.append([
        .worker(WorkerRecord(id: WorkerID(number), incarnation: "i\(number)", name: "w")),
        .submitted(JobRecord(id: JobID(number), name: "job-\(number)", spec: "spec", idempotencyKey: "key-\(number)")),
      ])
    }
    var generations: [JobID: UInt64] = [:]
    for step in 1...60 as ClosedRange<UInt64> {
      let job = JobID(UInt64(dice.roll(1...3)))
      switch dice.index(7) {
      case 0:
        let number = (generations[job] ?? 0) + 1
        generations[job] = number
        let member = MemberRecord(worker: WorkerID(UInt64(dice.roll(1...3))), shards: 0..<8)
        decisions.append([.generationBegan(GenerationRecord(job: job, number: number, members: [member]))])
      case 1: if let number = generations[job] { decisions.append([.generationStarted(job, number)]) }
      case 2: if let number = generations[job] { decisions.append([.generationEnded(job, number, reason: "kill")]) }
      case 3:
        let record = CheckpointRecord(
          job: job, step: UInt64(dice.roll(1...9)), epoch: 1, generation: step, name: "step", isFinal: false)
        decisions.append([.checkpoint(record)])
      case 4: decisions.append([.checkpointRemoved(job, step: UInt64(dice.roll(1...9)))])
      case 5: decisions.append([.intent(job, [JobIntent.pause, .cancel, nil][dice.index(3)])])
      default: decisions.append([.state(job, .running, reason: "step \(step)"), .dataset(job, "data-\(step)")])
      }
    }
    decisions.append([.state(JobID(3), .finished, reason: "done"), .result(JobID(3), sha256: "ab", json: "{}")])
    return decisions
  }

  @Test("remembers what the store on disk remembers", arguments: 1...10 as ClosedRange<UInt64>)
  func same(seed: UInt64) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "store-model-\(seed)-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let store = try RunStore(path: folder.appending(path: "store.sqlite").path)
    var model = StoreModel()
    for changes in decisions(seed: seed) {
      try store.apply(changes, now: Date(timeIntervalSince1970: 0))
      try model.apply(changes)
    }
    #expect(try store.load() == model.snapshot)
    try store.close()
  }

  @Test("refuses a decision about something that is not there, as the store on disk does")
  func refuses() throws {
    var model = StoreModel()
    #expect(throws: StoreModel.Inconsistency.self) { try model.apply([.state(JobID(1), .running, reason: "")]) }
    #expect(throws: StoreModel.Inconsistency.self) { try model.apply([.generationEnded(JobID(1), 1, reason: "")]) }
  }
}
