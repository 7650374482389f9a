import CZeroMQ
import Foundation
import Testing

@testable import Communication

@Suite("Control plane", .serialized)
struct ControlPlaneTests {
  enum Seen: Sendable, Equatable {
    case received(PeerIdentity, String)
    case disconnected(PeerIdentity)
  }

  /// A server that answers Watch with WatchEvent, ListJobs with JobList, ControlJob not at all, and records the rest.
  private func makeServer(_ endpoint: String = "tcp://127.0.0.1:*") throws -> (ControlServer, Recorder<Seen>) {
    let seen = Recorder<Seen>()
    let server = try ControlServer(endpoints: [endpoint], tickInterval: .milliseconds(20), security: .insecure)
    try server.start { [unowned server] event in
      switch event {
      case .received(let peer, let envelope):
        seen.add(.received(peer, ControlFrame.name(of: envelope)))
        var reply = WireEnvelope()
        reply.request = envelope.request
        switch envelope.body {
        case .listJobs: reply.jobList = WireJobList()
        case .watch: reply.watchEvent.over = true
        case .submitJob:
          reply.refused.reason = "no"
          reply.refused.remedy = "ask again"
          reply.refused.exitCode = 64
        default: return
        }
        server.send(reply, to: peer)
      case .disconnected(let peer): seen.add(.disconnected(peer))
      default: break
      }
    }
    return (server, seen)
  }

  private func message(_ fill: (inout WireEnvelope) -> Void) -> WireEnvelope {
    var envelope = WireEnvelope()
    fill(&envelope)
    return envelope
  }

  private var hello: WireEnvelope { message { $0.workerHello.name = "w" } }

  @Test("a request gets its own reply, from several threads at once; unsolicited messages go to the handler")
  func requests() throws {
    let (server, seen) = try makeServer()
    defer { server.close() }
    let unsolicited = Recorder<String>()
    let client = try ControlClient(.init(endpoint: server.endpoints[0], security: .insecure)) { event, client in
      if case .connected = event { client.send(self.hello) }
      if case .received(let envelope) = event { unsolicited.add(ControlFrame.name(of: envelope)) }
    }
    defer { client.close() }
    let results = inParallel(4) { index -> Bool in
      for _ in 0..<50 {
        let isWatch = index % 2 == 0
        let request = self.message { if isWatch { $0.watch.job = 1 } else { $0.listJobs = WireListJobs() } }
        let reply = try client.request(request, timeout: .seconds(10))
        switch reply.body {
        case .watchEvent where isWatch, .jobList where !isWatch: continue
        default: return false
        }
      }
      return true
    }
    for result in results { #expect(try result.get()) }
    // The greeting was the first thing that the connection carried.
    guard case .received(let peer, "workerHello") = seen.all.first else {
      Issue.record("the first message was \(String(describing: seen.all.first))")
      return
    }
    server.send(message { $0.acknowledged = WireAcknowledged() }, to: peer)
    #expect(unsolicited.wait { $0 == ["acknowledged"] })
    #expect(server.counters.garbage == 0 && server.counters.undeliverable == 0)
  }

  @Test("a peer that goes is reported within 100 ms, after what it sent last, and no other with it")
  func disconnects() throws {
    let (server, seen) = try makeServer()
    defer { server.close() }
    let steady = try ControlClient(.init(endpoint: server.endpoints[0], security: .insecure)) { event, client in
      if case .connected = event { client.send(self.hello) }
    }
    defer { steady.close() }
    #expect(seen.wait { $0.count == 1 })
    guard case .received(let steadyPeer, _) = seen.all[0] else { return }
    // Descriptors are reused at once by the next client.
    for round in 0..<30 {
      let before = seen.all.count
      let client = try ControlClient(.init(endpoint: server.endpoints[0], security: .insecure)) { event, client in
        if case .connected = event { client.send(self.hello) }
      }
      #expect(seen.wait { $0.count == before + 1 })
      client.send(message { $0.leave.reason = "\(round)" })
      #expect(seen.wait { $0.count == before + 2 })
      let closing = ContinuousClock().now
      client.close()
      #expect(seen.wait(2) { $0.count == before + 3 })
      #expect(ContinuousClock().now - closing < .milliseconds(500))
      guard seen.all.count == before + 3, case .received(let peer, "workerHello") = seen.all[before] else {
        Issue.record("round \(round): \(seen.all[before...])")
        return
      }
      #expect(peer != steadyPeer)
      #expect(seen.all[before + 1] == .received(peer, "leave"))
      #expect(seen.all[before + 2] == .disconnected(peer))
    }
    #expect(!seen.all.contains(.disconnected(steadyPeer)))
  }

  @Test("what a peer sent before it died is handled before its loss, however busy the handler was")
  func lastWords() throws {
    let seen = Recorder<String>()
    let server = try ControlServer(endpoints: ["tcp://127.0.0.1:*"], security: .insecure)
    let endpoint = try server.start { event in
      switch event {
      case .received(_, let envelope):
        seen.add(ControlFrame.name(of: envelope))
        if seen.all.count == 1 { usleep(200_000) }
      case .disconnected: seen.add("gone")
      default: break
      }
    }[0]
    defer { server.close() }
    let client = try ControlClient(.init(endpoint: endpoint, security: .insecure)) { event, client in
      guard case .connected = event else { return }
      client.send(self.hello)
      for _ in 0..<3 { client.send(self.message { $0.leave.reason = "done" }) }
    }
    #expect(seen.wait { $0.count == 1 })
    client.close(grace: .milliseconds(20))
    #expect(seen.wait { $0.count == 5 })
    #expect(seen.all == ["workerHello", "leave", "leave", "leave", "gone"])
  }

  @Test("many peers that come, speak and go at once are each reported once, in order")
  func churn() throws {
    let (server, seen) = try makeServer()
    defer { server.close() }
    let endpoint = server.endpoints[0]
    let results = inParallel(8) { _ in
      for _ in 0..<10 {
        let greeted = Recorder<Bool>()
        let client = try ControlClient(.init(endpoint: endpoint, security: .insecure)) { event, client in
          if case .connected = event { greeted.add(client.send(self.hello)) }
        }
        #expect(greeted.wait { $0 == [true] })
        _ = try client.request(self.message { $0.listJobs = WireListJobs() }, timeout: .seconds(10))
        client.close()
      }
    }
    for result in results { #expect(throws: Never.self) { try result.get() } }
    #expect(seen.wait { $0.count { if case .disconnected = $0 { true } else { false } } == 80 })
    var stages: [PeerIdentity: [String]] = [:]
    for event in seen.all {
      switch event {
      case .received(let peer, let name): stages[peer, default: []].append(name)
      case .disconnected(let peer): stages[peer, default: []].append("gone")
      }
    }
    #expect(stages.count == 80)
    for stage in stages.values { #expect(stage == ["workerHello", "listJobs", "gone"]) }
  }

  @Test("a client greets again when the coordinator comes back, and a pending request is asked again")
  func reconnects() throws {
    let (first, _) = try makeServer()
    let endpoint = first.endpoints[0]
    let events = Recorder<String>()
    let client = try ControlClient(.init(endpoint: endpoint, security: .insecure)) { event, client in
      switch event {
      case .connected:
        client.send(self.hello)
        events.add("connected")
      case .disconnected: events.add("disconnected")
      default: break
      }
    }
    defer { client.close() }
    #expect(events.wait { $0 == ["connected"] })
    // ControlJob is not answered by the first coordinator; the second is asked again and does.
    let answer = Handover<Result<WireEnvelope, any Error>>()
    let thread = OwnerThread()
    thread.start(name: "request") {
      answer.give(Result { try client.request(self.message { $0.watch.job = 3 }, timeout: .seconds(20)) })
    }
    _ = answer.take(within: .milliseconds(50))
    first.close()
    #expect(events.wait { $0 == ["connected", "disconnected"] })
    #expect(!client.isConnected && !client.send(hello))
    let (second, seen) = try makeServer(endpoint)
    defer { second.close() }
    #expect(events.wait { $0 == ["connected", "disconnected", "connected"] })
    let reply = try client.request(message { $0.watch.job = 3 }, timeout: .seconds(10))
    #expect(reply.watchEvent.over)
    guard case .received(_, "workerHello") = seen.all.first else {
      Issue.record("the first message was \(String(describing: seen.all.first))")
      return
    }
  }

  @Test("a request that is under way when the coordinator dies is answered by the next coordinator")
  func requestOverRestart() throws {
    let silent = try ControlServer(endpoints: ["tcp://127.0.0.1:*"], security: .insecure)
    let arrived = Recorder<Bool>()
    let endpoint = try silent.start { if case .received = $0 { arrived.add(true) } }[0]
    let client = try ControlClient(.init(endpoint: endpoint, security: .insecure))
    defer { client.close() }
    let answer = Handover<Result<WireEnvelope, any Error>>()
    OwnerThread().start(name: "request") {
      answer.give(Result { try client.request(self.message { $0.watch.job = 3 }, timeout: .seconds(20)) })
    }
    #expect(arrived.wait { $0 == [true] })
    silent.close()
    let (second, _) = try makeServer(endpoint)
    defer { second.close() }
    #expect(try answer.take().get().watchEvent.over)
  }

  @Test("another protocol version is refused with 78 and the remedy; garbage is counted and dropped; nothing stops")
  func strangers() throws {
    let (server, seen) = try makeServer()
    defer { server.close() }
    let endpoint = server.endpoints[0]
    let reply = try inParallel(1) { _ -> WireEnvelope in
      let socket = try Socket(.dealer, options: SocketOptions(maximumFrameByteCount: 1 << 20))
      try socket.connect(endpoint)
      var good = try ControlFrame.encode(self.hello)
      while socket.send([1, 2, 3]) != .sent { usleep(1_000) }
      _ = socket.send([])
      _ = socket.send(good, more: true)
      _ = socket.send(good)
      for length in 0..<good.count { _ = socket.send(Array("TMPQ".utf8) + good[4...].prefix(length)) }
      good[4] = 9
      _ = socket.send(good)
      while true {
        if let (parts, _, _) = socket.receive(maximumParts: 1) { return try ControlFrame.decode(parts[0]) }
        usleep(1_000)
      }
    }[0].get()
    #expect(reply.refused.exitCode == 78)
    #expect(reply.refused.reason == "the other side speaks protocol version 9, this program 1")
    #expect(reply.refused.remedy == "install the same release of temper on every machine")
    #expect(server.counters.refused == 1 && server.counters.received == 0)
    #expect(server.counters.garbage > 10)
    let client = try ControlClient(.init(endpoint: endpoint, security: .insecure))
    defer { client.close() }
    #expect(try client.request(message { $0.watch.job = 1 }, timeout: .seconds(10)).watchEvent.over)
    #expect(seen.all.count { if case .received = $0 { true } else { false } } == 1)
  }

  @Test("a refusal reaches the caller of a request as an error with reason, remedy and exit code")
  func refusals() throws {
    let (server, _) = try makeServer()
    defer { server.close() }
    let client = try ControlClient(.init(endpoint: server.endpoints[0], security: .insecure))
    defer { client.close() }
    let error = try #require(throws: CommunicationError.self) {
      try client.request(message { $0.submitJob.spec = "x" }, timeout: .seconds(10))
    }
    #expect(error.code == .refused && error.message == "no" && error.hint == "ask again" && error.exitCode == 64)
  }

  @Test("a coordinator that is not there is reported once, and requests say what to do and exit with 69")
  func unreachable() throws {
    let reports = Recorder<CommunicationError>()
    let configuration = ControlClient.Configuration(
      endpoint: "tcp://127.0.0.1:19999", security: .insecure, unreachableLimit: .milliseconds(100))
    let client = try ControlClient(configuration) { event, _ in
      if case .unreachable(let error) = event { reports.add(error) }
    }
    defer { client.close() }
    let error = try #require(throws: CommunicationError.self) {
      try client.request(message { $0.listJobs = WireListJobs() }, timeout: .milliseconds(400))
    }
    #expect(error.code == .unreachable && error.exitCode == 69)
    #expect("\(error)".contains("tcp://127.0.0.1:19999"))
    #expect(error.message.contains("nobody listens there"))
    #expect(reports.all.count == 1)
  }

  @Test("a port in use is refused with the endpoint and the remedy; a wrong endpoint too")
  func portInUse() throws {
    let (server, _) = try makeServer()
    defer { server.close() }
    let second = try ControlServer(endpoints: [server.endpoints[0]], security: .insecure)
    let error = try #require(throws: CommunicationError.self) { try second.start { _ in } }
    #expect(error.code == .addressInUse && error.exitCode == 78)
    #expect("\(error)".hasPrefix(server.endpoints[0]) && error.hint.contains("another port"))
    for endpoint in ["tcp://127.0.0.1", "http://x:1", "tcp://203.0.113.7:20000", "ipc:///no/such/directory/s"] {
      let server = try ControlServer(endpoints: [endpoint], security: .curve(.make(), AccessList()))
      let error = try #require(throws: CommunicationError.self) { try server.start { _ in } }
      #expect(error.code == .badEndpoint, "\(endpoint): \(error)")
    }
    #expect(throws: CommunicationError.self) {
      try ControlClient(.init(endpoint: "tcp:/127.0.0.1", security: .insecure))
    }
  }

  @Test("a client that met a server of another kind first still finds the coordinator later")
  func strangeServerFirst() throws {
    let (probe, _) = try makeServer()
    let endpoint = probe.endpoints[0]
    probe.close()
    let port = UInt16(endpoint.split(separator: ":").last.map(String.init) ?? "") ?? 0
    let strange = StrangeServer(port: port, saying: "HTTP/1.0 400 Bad Request\r\n\r\n")
    let client = try ControlClient(.init(endpoint: endpoint, security: .insecure))
    defer { client.close() }
    usleep(300_000)
    #expect(!client.isConnected)
    strange.stop()
    // Another pattern of ZeroMQ: a socket of libzmq 4.3.4 that was refused by it never tries again.
    let publisher = zmq_socket(MessagingContext.shared.raw, ZMQ_PUB)
    while zmq_bind(publisher, endpoint) != 0 { usleep(10_000) }
    usleep(1_000_000)
    #expect(!client.isConnected)
    zmq_unbind(publisher, endpoint)
    zmq_close(publisher)
    usleep(50_000)
    let (server, _) = try makeServer(endpoint)
    defer { server.close() }
    #expect(try client.request(message { $0.watch.job = 1 }, timeout: .seconds(10)).watchEvent.over)
  }

  @Test("ticks come while nothing else does, and posted values reach the handler's thread")
  func ticksAndPosts() throws {
    let values = Recorder<Int>()
    let server = try ControlServer(
      endpoints: ["tcp://127.0.0.1:*"], tickInterval: .milliseconds(5), security: .insecure)
    var ticks = 0
    try server.start { event in
      switch event {
      case .tick: ticks += 1
      case .posted(let value): if let value = value as? Int { values.add(value + (ticks > 0 ? 100 : 0)) }
      default: break
      }
    }
    defer { server.close() }
    usleep(50_000)
    for value in 0..<10 { server.post(value) }
    #expect(values.wait { $0 == (100..<110).map { $0 } })
  }
}
