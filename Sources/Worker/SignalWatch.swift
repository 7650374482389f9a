// SIGTERM, SIGINT and SIGUSR1 as events. They are blocked in every thread and taken by one thread with sigwait, so no code
// runs in a signal handler. A later one ends the process at once: whoever asks again does not want to wait. Within a second of the
// first it is the same wish, told twice: a terminal and a script, or Slurm and a batch script, signal the same process.
import Foundation

/// Turns the signals that ask a worker to leave into calls.
public enum SignalWatch {
  /// The signals that ask a worker to leave, with the names used in messages.
  static let names: [Int32: String] = [SIGTERM: "SIGTERM", SIGINT: "SIGINT", SIGUSR1: "SIGUSR1"]

  /// Starts watching; call it before any other thread is started, because threads inherit the blocked set.
  ///
  /// - Parameter received: called on the watching thread for the first signal; one that comes more than a second later ends the
  ///   process with 128 + number.
  public static func start(_ received: @escaping @Sendable (_ name: String) -> Void) {
    signal(SIGPIPE, SIG_IGN)
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in names.keys { sigaddset(&signals, number) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let watched = signals
    let thread = Thread {
      var signals = watched
      var first: ContinuousClock.Instant?
      while true {
        var number: Int32 = 0
        guard sigwait(&signals, &number) == 0, let name = names[number] else { continue }
        if let first {
          if .now - first > .seconds(1) { _exit(128 + number) }
        } else {
          first = .now
          received(name)
        }
      }
    }
    thread.name = "signals"
    thread.start()
  }
}
