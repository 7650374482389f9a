// What is missing in a job's log is counted by the next line that arrives.
import Coordinator
import RunStore
import Testing

@Suite("Gaps in logs") struct LogGapsTests {
  private let job = JobID(1)

  /// A coordinator's counts after these lines of worker "a" about job 1.
  private func counts(_ numbers: UInt64...) -> LogGaps {
    var gaps = LogGaps()
    for number in numbers { gaps.wrote(number, count: 1, of: "a", job) }
    return gaps
  }

  @Test("nothing is said about lines that follow each other, or about the first of all")
  func none() {
    #expect(LogGaps().gap(before: 1, of: "a", job) == nil)
    #expect(counts(1, 2).gap(before: 3, of: "a", job) == nil)
    #expect(counts(1, 2).gap(before: 2, of: "a", job) == nil)
  }

  @Test("lines lost on the way are counted, by worker and job")
  func lost() {
    let gap = counts(1, 2).gap(before: 6, of: "a", job)
    #expect(gap == .missing(3))
    #expect(gap?.text == "3 lines before the next one did not arrive")
    #expect(counts(1, 2).gap(before: 1, of: "b", job) == nil)
    #expect(counts(1, 2).gap(before: 1, of: "a", JobID(2)) == nil)
  }

  @Test("lines that the disk did not take are counted by the next one that it takes")
  func notWritten() {
    var gaps = counts(1)
    // 2 and 3 came, and `wrote` was not called.
    #expect(gaps.gap(before: 4, of: "a", job) == .missing(2))
    gaps.wrote(4, count: 3, of: "a", job)
    #expect(gaps.gap(before: 7, of: "a", job) == nil)
  }

  @Test("a coordinator that was started again says that it does not know what became of earlier lines")
  func restarted() {
    let gap = LogGaps().gap(before: 8, of: "a", job)
    #expect(gap == .unknown(7))
    #expect(gap?.text == "7 lines before the next one went to an earlier coordinator or did not arrive")
  }

  @Test("a worker that does not count, and numbers at the end of their range, change nothing")
  func strange() {
    var gaps = counts(1)
    gaps.wrote(0, count: 1, of: "a", job)
    gaps.wrote(.max, count: 2, of: "a", job)
    #expect(gaps.gap(before: 0, of: "a", job) == nil)
    #expect(gaps.gap(before: .max, of: "a", job) == .missing(.max - 2))
  }
}
