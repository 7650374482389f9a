// Looks at the key that a worker here would prove itself with: whether it is there, closed to others, and whose it is.

import Communication
import Foundation
import Worker

/// The key of a worker that would be started here.
struct KeyCheck {
  private let settings: WorkerSettings
  private let insecure: Bool
  private let environment: [String: String]

  init(_ settings: WorkerSettings, insecure: Bool, environment: [String: String]) {
    self.settings = settings
    self.insecure = insecure
    self.environment = environment
  }

  /// Where the key is looked for.
  var path: String { Credentials.location(role: .worker, option: settings.keys?.value, environment: environment).path }

  func run() -> DoctorReport.Key {
    let endpoint = settings.coordinator.value
    var report = DoctorReport.Key(file: path, text: "")
    do {
      switch try Credentials.security(
        role: .worker, endpoint: endpoint, keys: settings.keys?.value, insecure: insecure, environment: environment)
      {
      case nil: report.text = "not needed: ipc takes programs of the same user"
      case .insecure: report.text = "not used: --insecure"
      case .curve(let pair, let coordinator):
        report.fingerprint = pair.publicKey.fingerprint
        report.coordinator = coordinator.fingerprint
        report.text =
          "worker \(try KeyFile.read(path).name) \(pair.publicKey.fingerprint), for coordinator \(coordinator.fingerprint)"
      }
    } catch {
      report.trouble = PortCheck.text(error)
      report.text = PortCheck.text(error)
      report.exitCode = PortCheck.exitCode(error)
    }
    return report
  }
}
