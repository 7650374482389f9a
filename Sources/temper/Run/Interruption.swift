// Ctrl-C and SIGTERM as a flag that the main loop looks at.

import Dispatch
import Foundation
import Synchronization

/// Remembers that the person, or the scheduler, asked to stop. The second request ends the process at once.
final class Interruption: Sendable {
  private let requests = Mutex(0)
  private let sources = Mutex<[any DispatchSourceSignal]>([])

  init() {
    for number in [SIGINT, SIGTERM] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [self] in
        let count = requests.withLock { count in
          count += 1
          return count
        }
        if count > 1 { _exit(128 + number) }
      }
      source.resume()
      sources.withLock { $0.append(source) }
    }
  }

  var isRequested: Bool { requests.withLock { $0 > 0 } }
}
