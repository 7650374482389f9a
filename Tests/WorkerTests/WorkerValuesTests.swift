// The small values of a worker: the state block, the mailbox.
import Foundation
import Testing

@testable import Worker

@Suite("The state block")
struct StateBlobTests {
  @Test("gives back both files", arguments: [(0, 0), (1, 0), (0, 1), (300, 7)])
  func roundTrip(sizes: (Int, Int)) throws {
    let model = [UInt8](repeating: 7, count: sizes.0)
    let state = [UInt8](repeating: 9, count: sizes.1)
    let parts = try StateBlob.split(StateBlob.join(model: model, state: state))
    #expect(Array(parts.model) == model)
    #expect(Array(parts.state) == state)
  }

  @Test("is refused when it is shorter than it says")
  func damaged() {
    let whole = StateBlob.join(model: [1, 2, 3], state: [])
    for count in 0..<whole.count {
      #expect(throws: WorkerError.self) { try StateBlob.split(Array(whole.prefix(count))) }
    }
    let huge = [UInt8](repeating: 0xFF, count: 8) + [1, 2]
    #expect(throws: WorkerError.self) { try StateBlob.split(huge) }
  }
}

@Suite("The mailbox")
struct MailboxTests {
  @Test("hands out elements in the order of posting, from several threads, and times out when empty")
  func order() {
    let mailbox = Mailbox<Int>()
    for value in 0..<3 { mailbox.post(value) }
    #expect((0..<3).map { _ in mailbox.take() } == [0, 1, 2])
    #expect(mailbox.take(within: .milliseconds(5)) == nil)
    DispatchQueue.concurrentPerform(iterations: 100) { mailbox.post($0) }
    #expect(Set((0..<100).compactMap { _ in mailbox.take() }) == Set(0..<100))
  }
}
