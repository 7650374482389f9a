// Signs of life for systemd's WatchdogSec=, from the thread that decides: while that thread hangs there are none.
import Communication

/// Tells the service manager, if one started this process, that the coordinator is at work.
struct ServiceWatch {
  private let notifier = ServiceNotifier()
  private var toldAt: Instant?

  /// Called with every tick; tells at most every third of the watchdog's time.
  mutating func tick(at now: Instant, status: @autoclosure () -> String) {
    guard let notifier else { return }
    let interval = (notifier.watchdogInterval ?? .seconds(30)) / 3
    guard toldAt.map({ now - $0 >= interval }) ?? true else { return }
    if toldAt == nil { notifier.ready() }
    toldAt = now
    notifier.status(status())
    if notifier.watchdogInterval != nil { notifier.alive() }
  }
}
