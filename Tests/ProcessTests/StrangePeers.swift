// Connections that are not Temper's: garbage, half a handshake, one byte at a time, silence, and questions whose answers nobody reads.
import Communication
import Foundation

/// Strangers at one TCP port; they stay until this value goes.
final class StrangePeers {
  private var sockets: [Int32] = []
  /// Bytes still to be sent one by one, by socket.
  private var trickles: [(socket: Int32, left: ArraySlice<UInt8>)] = []

  /// Connects every kind of stranger to a port of this machine.
  ///
  /// - Throws: `ClusterFailure` when nobody listens there.
  init(port: UInt16) throws {
    try send(Array("GET / HTTP/1.1\r\nHost: temper\r\n\r\n".utf8), to: port)
    var generator = SeededBytes(state: 0x9E37_79B9_7F4A_7C15)
    try send(generator.bytes(64 << 10), to: port)
    // A frame that says it is 2^62 bytes long.
    try send(Self.handshake + [0x02, 0x40, 0, 0, 0, 0, 0, 0, 0] + [1, 2, 3], to: port)
    // Frames of our magic with another protocol version, with bytes that do not decode, and without our magic.
    let magic = Array("TMPR".utf8)
    try send(Self.handshake + frame(magic + [0xFF, 0xFF]) + frame(magic + [1, 0, 0xFF, 0xFF, 0xFF]), to: port)
    try send(Self.handshake + (0..<200).flatMap { frame(Array(repeating: UInt8($0), count: $0)) }, to: port)
    // More parts than any message of ours has.
    try send(Self.handshake + (0..<100).flatMap { _ in [0x01, 0x01, 0x42] } + [0x00, 0x00], to: port)
    // Asks two thousand times and reads no answer.
    var question = WireEnvelope()
    question.listJobs = WireListJobs()
    try send(
      Self.handshake
        + (1...2_000).flatMap { number in
          question.request = UInt64(number)
          return frame((try? ControlFrame.encode(question)) ?? [])
        }, to: port)
    for _ in 0..<50 { try send([], to: port) }
    try send(Array(Self.greeting.prefix(11)), to: port)
    for _ in 0..<5 { trickles.append((try send([], to: port), Self.handshake[...])) }
  }

  deinit { for socket in sockets { close(socket) } }

  /// Sends the next byte of those that send one at a time.
  func trickle() {
    for index in trickles.indices {
      guard let byte = trickles[index].left.popFirst() else { continue }
      write([byte], to: trickles[index].socket)
    }
  }

  /// ZMTP 3.0, mechanism NULL.
  private static let greeting: [UInt8] =
    [0xFF] + Array(repeating: 0, count: 8) + [0x7F, 3, 0] + Array("NULL".utf8) + Array(repeating: 0, count: 48)

  /// The greeting and a READY command of a DEALER.
  private static let handshake: [UInt8] = {
    let property = [UInt8(11)] + Array("Socket-Type".utf8) + [0, 0, 0, 6] + Array("DEALER".utf8)
    let body = [UInt8(5)] + Array("READY".utf8) + property
    return greeting + [0x04, UInt8(body.count)] + body
  }()

  private func frame(_ bytes: [UInt8]) -> [UInt8] {
    [0x00, UInt8(truncatingIfNeeded: bytes.count)] + bytes.prefix(255)
  }

  @discardableResult
  private func send(_ bytes: [UInt8], to port: UInt16) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw ClusterFailure(description: "nobody listens on port \(port)") }
    // Whoever does not read us must not hold up the test.
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    sockets.append(descriptor)
    write(bytes, to: descriptor)
    return descriptor
  }

  /// As much as the other side takes; it may have hung up already.
  private func write(_ bytes: [UInt8], to socket: Int32) {
    _ = Foundation.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }
}

/// SplitMix64, as bytes.
private struct SeededBytes {
  var state: UInt64

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return UInt8(truncatingIfNeeded: z ^ (z >> 31))
    }
  }
}

/// The TCP ports that a process listens on.
func listeningPorts(of process: Process) -> [UInt16] {
  let folder = "/proc/\(process.processIdentifier)/fd"
  let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
  let targets = names.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)") }
  let inodes = Set(targets.filter { $0.hasPrefix("socket:[") }.map { String($0.dropFirst(8).dropLast()) })
  let table = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/net/tcp", encoding: .utf8)) ?? ""
  return table.split(separator: "\n").dropFirst().compactMap { line in
    // Column 1 is the local address, 3 the state (0A: listening), 9 the inode.
    let columns = line.split(separator: " ")
    guard columns.count > 9, columns[3] == "0A", inodes.contains(String(columns[9])) else { return nil }
    return UInt16(columns[1].split(separator: ":")[1], radix: 16)
  }
}
