// Table against a dictionary, and the bound below which no plan of shards can go.
import RunStore
import Testing

@testable import Coordinator

@Suite("Rows by ascending key") struct TableTests {
  @Test("rows come, change and go as in a dictionary, and stay in order")
  func twin() {
    var table = Table<WorkerID, String>()
    var twin: [WorkerID: String] = [:]
    // Keys that come in ascending order, as workers do, and some that do not.
    let keys: [UInt64] = [1, 2, 3, 7, 8, 5, 4, 9, 6]
    for (round, key) in (keys + keys + keys).enumerated() {
      let key = WorkerID(key)
      if round % 4 == 3 {
        table[key] = nil
        twin[key] = nil
      } else {
        table[key] = "\(round)"
        twin[key] = "\(round)"
      }
      table[WorkerID(2)]?.append("+")
      twin[WorkerID(2)]?.append("+")
      #expect(table.keys == twin.keys.sorted())
      #expect(table.values == table.keys.compactMap { twin[$0] })
      for index in table.indices { #expect(table.index(of: table.keys[index]) == index) }
    }
    #expect(table.index(of: WorkerID(0)) == nil && table[WorkerID(99)] == nil)
  }

  @Test("a row is changed where it stands")
  func inPlace() throws {
    var table = Table<JobID, [Int]>()
    table[JobID(1)] = [1]
    table[JobID(3)] = [3]
    let index = try #require(table.index(of: JobID(3)))
    table[at: index].append(4)
    #expect(table[JobID(3)] == [3, 4] && table[at: 0] == [1])
  }
}

@Suite("The shortest step") struct ShortestStepTests {
  @Test("no plan is shorter, and the plan for equals is as short")
  func bound() {
    for count in 1...6 {
      for spread in [0, 1, 7, 50] {
        let times = (0..<count).map { Duration.microseconds(1_000 + 137 * spread * ($0 * $0 % 5)) }
        let ranges = ShardPlanner.ranges(shardCount: 16, speeds: ShardPlanner.speeds(of: times))
        let planned = zip(ranges, times).map { $1 * $0.count }.max() ?? .zero
        let shortest = ShardPlanner.shortestStep(shardCount: 16, times: times)
        #expect(shortest <= planned)
        if spread == 0, 16 % count == 0 { #expect(planned - shortest < .microseconds(1)) }
      }
    }
    #expect(ShardPlanner.shortestStep(shardCount: 4, times: [.milliseconds(1), .zero]) == .zero)
  }
}
