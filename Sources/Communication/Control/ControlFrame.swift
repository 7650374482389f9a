// One control message as bytes: "TMPR", the protocol version, an encoded Envelope. See Messages/control.proto.

import SwiftProtobuf

/// Turns control messages into frames and back; nothing a stranger sends can make it trap.
public enum ControlFrame {
  /// The protocol version this program speaks.
  public static let version: UInt16 = 1
  static let magic: [UInt8] = Array("TMPR".utf8)
  static let headerByteCount = 6
  /// The longest frame a coordinator accepts: a piece of a file is 512 KiB, a spec far less.
  public static let maximumByteCountToServer = 1 << 20
  /// The longest frame a coordinator sends: lists of jobs with their specs and metrics.
  public static let maximumByteCountToClient = 16 << 20

  /// The frame of an envelope.
  ///
  /// - Throws: `tooLarge` when it exceeds `limit`.
  public static func encode(_ envelope: WireEnvelope, limit: Int = maximumByteCountToClient) throws -> [UInt8] {
    encodeHeader(version: version) + (try body(envelope, limit: limit))
  }

  private static func body(_ envelope: WireEnvelope, limit: Int) throws -> [UInt8] {
    let bytes: [UInt8] = try envelope.serializedBytes()
    guard bytes.count + headerByteCount <= limit else {
      throw CommunicationError(
        .tooLarge, "a \(name(of: envelope)) message of \(bytes.count) bytes; the limit is \(limit)",
        hint: "send files in pieces of at most 512 KiB")
    }
    return bytes
  }

  private static func encodeHeader(version: UInt16) -> [UInt8] {
    magic + [UInt8(truncatingIfNeeded: version), UInt8(truncatingIfNeeded: version >> 8)]
  }

  /// The envelope of a frame.
  ///
  /// A `Refused` is read from any version: its encoding never changes, so that a program always learns why it is turned away.
  /// - Throws: `malformed` when the bytes are not ours, `versionMismatch` when they are of another version.
  public static func decode(_ bytes: [UInt8]) throws -> WireEnvelope {
    guard bytes.count >= headerByteCount, Array(bytes[..<4]) == magic else {
      throw CommunicationError(.malformed, "\(bytes.count) bytes that are not a control message")
    }
    let found = UInt16(bytes[4]) | UInt16(bytes[5]) << 8
    let envelope = try? WireEnvelope(serializedBytes: Array(bytes[headerByteCount...]))
    if found != version {
      if let envelope, case .refused = envelope.body { return envelope }
      var error = CommunicationError(
        .versionMismatch, "the other side speaks protocol version \(found), this program \(version)",
        hint: "install the same release of temper on every machine")
      error.exitCode = 78
      throw error
    }
    guard let envelope, envelope.body != nil else {
      throw CommunicationError(.malformed, "a control message of \(bytes.count) bytes that cannot be decoded")
    }
    return envelope
  }

  /// The answer to whoever speaks another version or sends what cannot be decoded: exit with 78, do not restart.
  static func refusal(of error: CommunicationError) -> WireEnvelope {
    var envelope = WireEnvelope()
    envelope.refused.reason = error.message
    envelope.refused.remedy = error.hint.isEmpty ? "install the same release of temper on every machine" : error.hint
    envelope.refused.exitCode = 78
    return envelope
  }

  /// The kind of a message, for logs and errors: "workerHello".
  public static func name(of envelope: WireEnvelope) -> String {
    guard let body = envelope.body else { return "empty" }
    return Mirror(reflecting: body).children.first?.label ?? "unknown"
  }
}
