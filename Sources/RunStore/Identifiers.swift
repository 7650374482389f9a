// Numbers by which the coordinator names jobs and workers. Two types, so that one is never taken for the other.

/// A job's number: counted from 1 in one coordinator's directory, never reused.
public struct JobID: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The number as it stands in SQLite and on the wire.
  public let rawValue: UInt64

  /// Wraps a number that came from SQLite or the wire.
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Jobs in the order in which they were submitted.
  public static func < (left: JobID, right: JobID) -> Bool { left.rawValue < right.rawValue }

  /// `job 3`, as it appears in reasons and logs.
  public var description: String { "job \(rawValue)" }
}

/// The number of one stay of a worker, never reused; a process that was lost and comes back gets another.
public struct WorkerID: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The number as it stands in SQLite and on the wire.
  public let rawValue: UInt64

  /// Wraps a number that came from SQLite or the wire.
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Workers in the order in which the coordinator first heard of them.
  public static func < (left: WorkerID, right: WorkerID) -> Bool { left.rawValue < right.rawValue }

  /// `w-17`, as it appears in reasons and logs.
  public var description: String { "w-\(rawValue)" }
}
