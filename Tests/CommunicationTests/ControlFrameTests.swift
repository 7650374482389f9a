import Testing

@testable import Communication

@Suite("Control frames")
struct ControlFrameTests {
  private var hello: WireEnvelope {
    var envelope = WireEnvelope()
    envelope.request = 17
    envelope.workerHello.name = "w-17"
    envelope.workerHello.incarnation = "8d1f"
    return envelope
  }

  @Test("a message survives; its bytes begin with TMPR and the version")
  func roundTrip() throws {
    let bytes = try ControlFrame.encode(hello)
    #expect(Array(bytes[..<6]) == [0x54, 0x4D, 0x50, 0x52, 1, 0])
    #expect(try ControlFrame.decode(bytes) == hello)
    #expect(ControlFrame.name(of: hello) == "workerHello")
  }

  @Test("every truncation and every flipped byte is an error or another message, never a trap")
  func mutations() throws {
    let bytes = try ControlFrame.encode(hello)
    for length in 0..<bytes.count { _ = try? ControlFrame.decode(Array(bytes[..<length])) }
    for index in bytes.indices {
      for bit in 0..<8 {
        var mutated = bytes
        mutated[index] ^= 1 << bit
        guard let decoded = try? ControlFrame.decode(mutated) else { continue }
        #expect(decoded != hello, "byte \(index), bit \(bit) made no difference")
      }
    }
  }

  @Test("a refusal is read whatever version it comes in; other messages of other versions are not")
  func versions() throws {
    var refusal = WireEnvelope()
    refusal.refused.reason = "too old"
    var bytes = try ControlFrame.encode(refusal)
    bytes[4] = 2
    #expect(try ControlFrame.decode(bytes).refused.reason == "too old")
    bytes = try ControlFrame.encode(hello)
    bytes[5] = 1
    let error = try #require(throws: CommunicationError.self) { try ControlFrame.decode(bytes) }
    #expect(error.code == .versionMismatch && error.exitCode == 78)
    #expect(error.message == "the other side speaks protocol version 257, this program 1")
  }

  @Test("a message above the limit of its plane is refused with both numbers")
  func tooLarge() throws {
    var envelope = WireEnvelope()
    envelope.filePiece.bytes = .init(repeating: 0, count: 1 << 20)
    let error = try #require(throws: CommunicationError.self) {
      try ControlFrame.encode(envelope, limit: ControlFrame.maximumByteCountToServer)
    }
    #expect(error.code == .tooLarge)
    #expect(error.message.contains("filePiece") && error.message.contains("1048576"))
  }

  @Test("a mesh header survives, and no mutation of it traps")
  func meshHeader() {
    var header = FrameHeader(.partial, rank: 200, job: 3, generation: .max, step: 5)
    header.sequence = 6
    header.bucket = 7
    header.piece = 8
    header.offset = 1 << 40
    header.total = 9
    header.payloadByteCount = 1 << 20
    var bytes = [UInt8](repeating: 0xAA, count: FrameHeader.byteCount)
    bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { header.encode(into: start) } }
    #expect(bytes.withUnsafeBytes { FrameHeader(decoding: $0) } == header)
    for index in bytes.indices {
      for bit in 0..<8 {
        var mutated = bytes
        mutated[index] ^= 1 << bit
        #expect(mutated.withUnsafeBytes { FrameHeader(decoding: $0) } != header)
      }
    }
    for length in 0..<FrameHeader.byteCount {
      #expect(bytes[..<length].withUnsafeBytes { FrameHeader(decoding: $0) } == nil)
    }
  }
}
