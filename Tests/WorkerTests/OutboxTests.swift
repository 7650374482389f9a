// Deliveries to a coordinator that goes away, refuses, and comes back; and files fetched from one that contradicts itself.
import Communication
import Foundation
import Synchronization
import Testing

@testable import Worker

/// A list that several threads append to.
final class Record<Element: Sendable>: Sendable {
  private let elements = Mutex<[Element]>([])
  var all: [Element] { elements.withLock { $0 } }
  func add(_ element: Element) { elements.withLock { $0.append(element) } }

  /// Waits until `condition` holds, at most 2 s.
  func wait(until condition: ([Element]) -> Bool) -> Bool {
    for _ in 0..<400 {
      if condition(all) { return true }
      Thread.sleep(forTimeInterval: 0.005)
    }
    return false
  }
}

@Suite("The outbox")
struct OutboxTests {
  let first = GenerationKey(job: 1, generation: 1)
  let second = GenerationKey(job: 1, generation: 2)

  private func delivery(
    _ name: String, insists: Bool = false, log: Record<String>,
    _ attempt: @escaping @Sendable (Int, GenerationKey) throws -> Delivery.Outcome
  ) -> Delivery {
    let tries = Record<Int>()
    return Delivery(
      name: name, job: 1, insists: insists,
      attempt: { key, _ in
        tries.add(0)
        log.add("\(name) for generation \(key.generation)")
        return try attempt(tries.all.count, key)
      }, settled: { log.add("\(name) settled") })
  }

  @Test("delivers in order, trying again while the coordinator is away")
  func order() {
    let log = Record<String>()
    let outbox = Outbox { _ in }
    outbox.enter(first)
    outbox.add(
      delivery("a", log: log) { count, _ in
        if count < 3 { throw CommunicationError(.unreachable, "away") }
        return .delivered
      })
    outbox.add(delivery("b", log: log) { _, _ in .delivered })
    #expect(log.wait { $0.last == "b settled" })
    #expect(
      log.all == [
        "a for generation 1", "a for generation 1", "a for generation 1", "a settled", "b for generation 1",
        "b settled",
      ])
  }

  @Test("gives up what is refused, but insists on what the job cannot end without")
  func refusal() {
    let log = Record<String>()
    let outbox = Outbox(retryPause: .milliseconds(20)) { report in
      if case .refused(let name, let reason, let again) = report { log.add("\(name): \(reason), again \(again)") }
    }
    outbox.enter(first)
    outbox.add(delivery("a", log: log) { _, _ in .refused(reason: "disk full") })
    outbox.add(
      delivery("b", insists: true, log: log) { count, _ in count < 5 ? .refused(reason: "disk full") : .delivered })
    #expect(log.wait { $0.last == "b settled" })
    let expected =
      ["a for generation 1", "a: disk full, again true", "a for generation 1", "a for generation 1"]
      + ["a: disk full, again false", "a settled", "b for generation 1", "b: disk full, again true"]
      + Array(repeating: "b for generation 1", count: 4) + ["b settled"]
    #expect(log.all == expected, "the same reason is said once, and when it is given up")
  }

  @Test("tries again under the next generation when it was fenced out")
  func fence() {
    let log = Record<String>()
    let outbox = Outbox { _ in }
    outbox.enter(first)
    let next = second
    outbox.add(
      delivery("a", log: log) { _, key in
        if key == next { return .delivered }
        outbox.enter(next)
        return .refused(reason: "generation 1 is over")
      })
    #expect(log.wait { $0.last == "a settled" })
    #expect(log.all == ["a for generation 1", "a for generation 2", "a settled"])
  }

  @Test("drops and settles everything when the job is over")
  func drop() {
    let log = Record<String>()
    let outbox = Outbox { _ in }
    outbox.enter(first)
    outbox.add(delivery("a", log: log) { _, _ in throw CommunicationError(.unreachable, "away") })
    outbox.add(delivery("b", log: log) { _, _ in .delivered })
    #expect(log.wait { !$0.isEmpty })
    outbox.drop()
    #expect(log.wait { $0.contains("a settled") && $0.contains("b settled") })
    #expect(!log.all.contains("b for generation 1"))
    #expect(outbox.isEmpty)
  }
}
