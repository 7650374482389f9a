// Which lines of the workers' logs never reached a job's log: lost with a connection, while this coordinator was away, or because
// the disk was full. A worker numbers the lines that it passes on about a job, from 1, whether they arrive or not, so that the next line
// that does arrive tells how many are missing. Nothing is kept over a restart: what was written before it is not known any more.
package import RunStore

/// Counts what is missing between the lines of each worker's log; a pure value, used by the shell and by the simulator.
package struct LogGaps: Sendable {
  /// What is not there before some lines.
  package enum Gap: Sendable, Hashable {
    /// Lost.
    case missing(UInt64)
    /// Lost, or written by the coordinator before this one.
    case unknown(UInt64)

    /// The line that stands for them.
    package var text: String {
      switch self {
      case .missing(let count): "\(count) \(count == 1 ? "line" : "lines") before the next one did not arrive"
      case .unknown(let count):
        "\(count) \(count == 1 ? "line" : "lines") before the next one went to an earlier coordinator or did not arrive"
      }
    }
  }

  private struct Source: Hashable {
    var incarnation: String
    var job: JobID
  }

  /// More than are ever alive at once; beyond it everything is forgotten, and the next lines say that earlier ones are unknown.
  private static let mostSources = 16_384

  /// The number of the last line of each that is in its job's log.
  private var newest: [Source: UInt64] = [:]

  /// Counts that have seen nothing.
  package init() {}

  /// What is missing before a line of a worker, nil if nothing is.
  ///
  /// - Parameters:
  ///   - first: the number of the line, from 1; 0 if the worker does not count.
  ///   - incarnation: the worker's process.
  package func gap(before first: UInt64, of incarnation: String, _ job: JobID) -> Gap? {
    guard first > 1 else { return nil }
    guard let last = newest[Source(incarnation: incarnation, job: job)] else { return .unknown(first - 1) }
    return first > last && first - last > 1 ? .missing(first - last - 1) : nil
  }

  /// Lines are in the log; not to be called for lines that could not be written, so that they are counted later.
  package mutating func wrote(_ first: UInt64, count: Int, of incarnation: String, _ job: JobID) {
    guard first > 0, count > 0, first <= .max - UInt64(count) else { return }
    if newest.count >= Self.mostSources { newest = [:] }
    newest[Source(incarnation: incarnation, job: job)] = first + UInt64(count) - 1
  }
}
