// When a delivery is tried, tried again, given up or dropped, without threads.
import Testing

@testable import Worker

@Suite("The line of deliveries")
struct DeliveryLineTests {
  private let first = GenerationKey(job: 1, generation: 1)

  private func line(_ items: [String], insists: Bool = false) -> DeliveryLine<String> {
    var line = DeliveryLine<String>(retryPause: .seconds(5))
    _ = line.enter(first)
    for item in items { line.add(DeliveryLine.Entry(job: 1, insists: insists, item: item)) }
    return line
  }

  private func describe(_ next: DeliveryLine<String>.Next) -> String {
    switch next {
    case .nothing: "nothing"
    case .attempt(let item, let key): "\(item) for generation \(key.generation)"
    case .dropped(let item): "\(item) dropped"
    }
  }

  private func describe(_ conclusion: DeliveryLine<String>.Conclusion) -> String {
    switch conclusion {
    case .settled(let refusal): "settled, saying \(refusal ?? "nothing")"
    case .again(let pause, let refusal): "again after \(pause), saying \(refusal ?? "nothing")"
    }
  }

  @Test("tries the first again and again while nobody answers, under the newest generation")
  func unreachable() {
    var line = line(["a", "b"])
    #expect(describe(line.next()) == "a for generation 1")
    #expect(describe(line.conclude(.unreachable)) == "again after 0.2 seconds, saying nothing")
    _ = line.enter(GenerationKey(job: 1, generation: 2))
    #expect(describe(line.next()) == "a for generation 2")
    #expect(describe(line.conclude(.delivered)) == "settled, saying nothing")
    #expect(describe(line.next()) == "b for generation 2")
  }

  @Test("gives up after three refusals, unless the job cannot end without it")
  func refusals() {
    var line = line(["a"])
    for said in [
      "again after 0.3 seconds, saying full", "again after 0.3 seconds, saying nothing", "settled, saying full",
    ] {
      _ = line.next()
      #expect(describe(line.conclude(.refused(reason: "full"))) == said)
    }
    #expect(line.isEmpty)
    var insisting = self.line(["a"], insists: true)
    for count in 1...5 {
      _ = insisting.next()
      let pause = count < 3 ? "0.3" : "5.0"
      let said = count == 1 ? "full" : "nothing"
      #expect(describe(insisting.conclude(.refused(reason: "full"))) == "again after \(pause) seconds, saying \(said)")
    }
  }

  @Test("drops what is under way and what waits with its job")
  func drops() {
    var line = line(["a", "b"])
    _ = line.next()
    #expect(line.enter(GenerationKey(job: 2, generation: 1)) == ["b"])
    #expect(line.isDropping)
    #expect(describe(line.conclude(.unreachable)) == "again after 0.2 seconds, saying nothing")
    #expect(describe(line.next()) == "a dropped")
    #expect(describe(line.next()) == "nothing")
    #expect(line.isEmpty && !line.isDropping)
  }
}
