// Tries the ways that a worker needs: to the coordinator, to the other workers, and back to this machine.
// The way back is tried by the coordinator, which connects to a port that is opened here for the purpose.

import Communication
import Foundation
import Worker

/// The ports of a worker that would be started here.
struct PortCheck {
  private let settings: WorkerSettings
  private let timeout: Duration
  private let insecure: Bool
  private let environment: [String: String]

  init(_ settings: WorkerSettings, timeout: Duration, insecure: Bool, environment: [String: String]) {
    self.settings = settings
    self.timeout = timeout
    self.insecure = insecure
    self.environment = environment
  }

  /// The ways, and what was not tried.
  func run() -> (ports: [DoctorReport.Port], notes: [String]) {
    let coordinator = settings.coordinator.value
    do {
      let security = try Credentials.security(
        role: .worker, endpoint: coordinator, keys: settings.keys?.value, insecure: insecure, environment: environment)
      let client = try ControlClient(
        ControlClient.Configuration(endpoint: coordinator, security: security, unreachableLimit: timeout))
      defer { client.close() }
      let (way, milliseconds) = try back(client)
      let there = port("out", "coordinator", coordinator, milliseconds: milliseconds)
      // Who may not ask does not: the coordinator would log a refusal.
      if case .curve = security {
        return ([there, way], ["other workers: not tried, a worker's key does not open their list"])
      }
      return ([there] + (try workers(client).compactMap(reach)) + [way], [])
    } catch {
      return ([port("out", "coordinator", coordinator, trouble: error)], [])
    }
  }

  private func workers(_ client: ControlClient) throws -> [WireWorkerInfo] {
    guard case .workerList(let list) = try client.request(.listWorkers(WireListWorkers()), timeout: timeout) else {
      throw Self.otherMessage
    }
    return list.workers
  }

  private static var otherMessage: Failure {
    Failure(.unavailable, "the coordinator answers with another message: use programs of one release")
  }

  /// Another worker; one on loopback can only be meant for its own machine.
  private func reach(_ worker: WireWorkerInfo) -> DoctorReport.Port? {
    guard !worker.dataEndpoint.isEmpty, isLocal || !worker.dataEndpoint.hasPrefix("tcp://127.") else { return nil }
    do {
      let seconds = try TCPProbe.reach(worker.dataEndpoint, timeout: timeout)
      return port("out", "worker \(worker.name)", worker.dataEndpoint, milliseconds: seconds * 1_000)
    } catch {
      return port("out", "worker \(worker.name)", worker.dataEndpoint, trouble: error)
    }
  }

  private var isLocal: Bool { settings.dataInterface.value.hasPrefix("127.") }

  /// The way back, and how long the coordinator took to answer besides.
  ///
  /// - Throws: when the coordinator does not answer.
  private func back(_ client: ControlClient) throws -> (DoctorReport.Port, Double) {
    let what = "this machine, from the coordinator"
    var mesh: PeerMesh?
    var trouble: (any Error)?
    do { mesh = try PeerMesh(PeerMesh.Configuration(interface: settings.dataInterface.value)) } catch {
      trouble = error
    }
    defer { mesh?.close() }
    let endpoint = mesh?.dataEndpoint ?? settings.dataInterface.value
    var question = WireProbeEndpoint()
    question.endpoint = mesh?.dataEndpoint ?? ""
    let start = ContinuousClock.now
    // The coordinator takes up to 3 s by itself.
    guard case .probeResult(let result) = try client.request(.probeEndpoint(question), timeout: timeout + .seconds(3))
    else { throw Self.otherMessage }
    let milliseconds = max(0, (ContinuousClock.now - start) / .milliseconds(1) - result.seconds * 1_000)
    if trouble == nil, !result.trouble.isEmpty { trouble = Failure(.unavailable, result.trouble) }
    if let trouble { return (port("in", what, endpoint, trouble: trouble), milliseconds) }
    return (port("in", what, endpoint, milliseconds: result.seconds * 1_000), milliseconds)
  }

  private func port(
    _ direction: String, _ what: String, _ endpoint: String, trouble: (any Error)? = nil, milliseconds: Double? = nil
  ) -> DoctorReport.Port {
    DoctorReport.Port(
      direction: direction, what: what, endpoint: endpoint, trouble: trouble.map(Self.text),
      milliseconds: milliseconds, exitCode: trouble.map(Self.exitCode))
  }

  static func exitCode(_ error: any Error) -> Int32 {
    (error as? Failure)?.status.rawValue ?? (error as? CommunicationError)?.exitCode ?? ExitStatus.bug.rawValue
  }

  static func text(_ error: any Error) -> String {
    if let failure = error as? Failure { return failure.message }
    guard let error = error as? CommunicationError else { return "\(error)" }
    return error.hint.isEmpty ? error.message : "\(error.message); \(error.hint)"
  }
}

extension ControlClient {
  /// A request by its body, answered by a body.
  fileprivate func request(_ body: WireEnvelope.OneOf_Body, timeout: Duration) throws -> WireEnvelope.OneOf_Body? {
    var envelope = WireEnvelope()
    envelope.body = body
    return try request(envelope, timeout: timeout).body
  }
}
