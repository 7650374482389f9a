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

  func run() -> [DoctorReport.Port] {
    let coordinator = settings.coordinator.value
    do {
      let security = try Credentials.security(
        role: .worker, endpoint: coordinator, keys: settings.keys?.value, insecure: insecure, environment: environment)
      let client = try ControlClient(
        ControlClient.Configuration(endpoint: coordinator, security: security, unreachableLimit: timeout))
      defer { client.close() }
      let (way, milliseconds) = try back(client)
      return [port("out", "coordinator", coordinator, milliseconds: milliseconds)] + workers(client).compactMap(reach)
        + [way]
    } catch {
      return [port("out", "coordinator", coordinator, trouble: Self.text(error))]
    }
  }

  /// The other workers; a worker's key does not open the list, then there is nothing to try.
  private func workers(_ client: ControlClient) -> [WireWorkerInfo] {
    let answer = try? client.request(.listWorkers(WireListWorkers()), timeout: timeout)
    guard case .workerList(let list) = answer else { return [] }
    return list.workers
  }

  /// Another worker; one on loopback can only be meant for its own machine.
  private func reach(_ worker: WireWorkerInfo) -> DoctorReport.Port? {
    guard !worker.dataEndpoint.isEmpty, isLocal || !worker.dataEndpoint.hasPrefix("tcp://127.") else { return nil }
    do {
      let seconds = try TCPProbe.reach(worker.dataEndpoint, timeout: timeout)
      return port("out", "worker \(worker.name)", worker.dataEndpoint, milliseconds: seconds * 1_000)
    } catch {
      return port("out", "worker \(worker.name)", worker.dataEndpoint, trouble: Self.text(error))
    }
  }

  private var isLocal: Bool { settings.dataInterface.value.hasPrefix("127.") }

  /// The way back, and how long the coordinator took to answer besides.
  ///
  /// - Throws: when the coordinator does not answer.
  private func back(_ client: ControlClient) throws -> (DoctorReport.Port, Double) {
    let what = "this machine, from the coordinator"
    let mesh: PeerMesh?
    var trouble = ""
    do { mesh = try PeerMesh(PeerMesh.Configuration(interface: settings.dataInterface.value)) } catch {
      mesh = nil
      trouble = Self.text(error)
    }
    defer { mesh?.close() }
    let endpoint = mesh?.dataEndpoint ?? settings.dataInterface.value
    var question = WireProbeEndpoint()
    question.endpoint = mesh?.dataEndpoint ?? ""
    let start = ContinuousClock.now
    // The coordinator takes up to 3 s by itself.
    guard case .probeResult(let result) = try client.request(.probeEndpoint(question), timeout: timeout + .seconds(3))
    else { throw Failure(.unavailable, "the coordinator answers with another message: use programs of one release") }
    let milliseconds = max(0, (ContinuousClock.now - start) / .milliseconds(1) - result.seconds * 1_000)
    if trouble.isEmpty { trouble = result.trouble }
    guard trouble.isEmpty else { return (port("in", what, endpoint, trouble: trouble), milliseconds) }
    return (port("in", what, endpoint, milliseconds: result.seconds * 1_000), milliseconds)
  }

  private func port(
    _ direction: String, _ what: String, _ endpoint: String, trouble: String? = nil, milliseconds: Double? = nil
  ) -> DoctorReport.Port {
    DoctorReport.Port(
      direction: direction, what: what, endpoint: endpoint, trouble: trouble, milliseconds: milliseconds)
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
