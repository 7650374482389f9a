// Lines for a job's log are numbered whether anybody takes them or not.
import Communication
import Synchronization
import Testing

@testable import Worker

@Suite("Forwarded lines") struct LogForwardingTests {
  @Test("are counted by job, also while there is no job or nobody to tell")
  func numbers() {
    let told = Mutex<[(job: UInt64, first: UInt64)]>([])
    let forwarding = LogForwarding()
    forwarding.send("no job")
    forwarding.enter(job: 1)
    forwarding.send("lost")
    forwarding.open { envelope in told.withLock { $0.append((envelope.logLines.job, envelope.logLines.first)) } }
    forwarding.send("second")
    forwarding.enter(job: 2)
    forwarding.send("of another job")
    forwarding.enter(job: nil)
    forwarding.send("no job")
    forwarding.enter(job: 1)
    forwarding.send("third")
    #expect(told.withLock { $0.map(\.job) } == [1, 2, 1])
    #expect(told.withLock { $0.map(\.first) } == [2, 1, 3])
  }
}
