// A coordinator process: directory, store, server, background threads around the state machine. Start to stop in one place.
import Communication
import Foundation
public import Logging
import RunStore
import Synchronization

/// A running coordinator.
public final class CoordinatorService: Sendable {
  /// Where it listens, ports resolved.
  public let endpoints: [String]
  private let server: ControlServer
  private let lock: DirectoryLock
  private let desk: CheckpointDesk
  private let ending: Ending

  /// Takes over the directory and starts listening; jobs go on where they were.
  ///
  /// - Parameters:
  ///   - configuration: directory and endpoints.
  ///   - log: where decisions are told.
  /// - Throws: `CoordinatorError`: `inUse`, `directory`, `store`, `address`, `keys`.
  public init(_ configuration: CoordinatorConfiguration, log: Logger) throws {
    let directory = try CoordinatorDirectory(configuration.directory)
    lock = try DirectoryLock(path: directory.lock)
    let store: RunStore
    do { store = try RunStore(path: directory.database) } catch let error as RunStoreError {
      throw CoordinatorError(.store, error.message, hint: error.hint, location: error.location, cause: error.cause)
    }
    let ending = Ending()
    self.ending = ending
    do {
      let keys = try Self.keys(configuration, log)
      let server = try ControlServer(
        endpoints: configuration.endpoints, security: configuration.insecure ? .insecure : keys?.security)
      self.server = server
      let core = CoordinatorCore(
        directory: directory, store: store, server: server,
        gate: Doorkeeper(keys: keys, roots: configuration.dataRoots), log: log, end: { ending.end($0) })
      desk = core.desk
      try core.restore()
      endpoints = try server.start { core.handle($0) }
    } catch let error as CommunicationError {
      throw CoordinatorError(
        [.noKey, .badKey, .notPermitted].contains(error.code) ? .keys : .address, error.message, hint: error.hint,
        location: error.location, cause: error.cause,
        exitCode: error.exitCode)
    } catch let error as RunStoreError {
      throw CoordinatorError(.store, error.message, hint: error.hint, location: error.location, cause: error.cause)
    }
  }

  /// The keys that tcp endpoints need; nil when there are none, or when everybody on this machine is welcome.
  private static func keys(_ configuration: CoordinatorConfiguration, _ log: Logger) throws -> KeyKeeper? {
    let tcp = configuration.endpoints.filter { $0.hasPrefix("tcp://") }
    guard !tcp.isEmpty else { return nil }
    guard configuration.insecure else { return try KeyKeeper(directory: configuration.directory) }
    log.warning(
      """
      --insecure: \(tcp.joined(separator: ", ")) takes no keys and encrypts nothing; every user and program on this machine can \
      submit, end and read jobs
      """)
    return nil
  }

  /// Asks it to stop; from any thread, `run` returns soon after.
  public func stop() { ending.end(nil) }

  /// Waits until it is told to stop, by `stop` or by a client, then closes everything.
  ///
  /// - Throws: `CoordinatorError` `store` when a decision could not be written down: nothing was done about it, and the
  ///   next coordinator on the directory goes on from what was written.
  public func run() throws {
    let failure = ending.wait()
    server.close()
    desk.finish()
    if let failure { throw failure }
  }
}

/// The end of the process, waited for by one thread and brought about by another.
private final class Ending: Sendable {
  private let failure = Mutex<CoordinatorError?>(nil)
  private let signal = DispatchSemaphore(value: 0)

  func end(_ error: CoordinatorError?) {
    failure.withLock { $0 = $0 ?? error }
    signal.signal()
  }

  func wait() -> CoordinatorError? {
    signal.wait()
    return failure.withLock { $0 }
  }
}
