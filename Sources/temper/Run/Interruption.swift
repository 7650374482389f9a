// Ctrl-C and SIGTERM as a flag that the main loop looks at.

import Dispatch
import Foundation
import Synchronization

/// Remembers that the person, or the scheduler, asked to stop.
///
/// The second request ends the process at once.
final class Interruption {
  private let requests = Requests()
  private var sources: [any DispatchSourceSignal] = []

  /// Counted on the sources' queue, read by the main thread.
  private final class Requests: Sendable {
    let count = Mutex(0)
  }

  init() {
    for number in [SIGINT, SIGTERM] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [requests] in
        let count = requests.count.withLock { count in
          count += 1
          return count
        }
        if count > 1 { _exit(128 + number) }
      }
      source.resume()
      sources.append(source)
    }
  }

  var isRequested: Bool { requests.count.withLock { $0 > 0 } }
}
