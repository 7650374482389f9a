// The training state as it travels from member to member: both safetensors files in one block of bytes.
// Layout: byte count of the model file (8 bytes, little endian), the model file, the state file.

/// Joins and splits the two files that hold a training state.
enum StateBlob {
  /// One block of bytes with both files.
  static func join(model: [UInt8], state: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + model.count + state.count)
    withUnsafeBytes(of: UInt64(model.count).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: model)
    bytes.append(contentsOf: state)
    return bytes
  }

  /// The files in a block.
  ///
  /// - Throws: `WorkerError.damagedState` when the block cannot hold what it announces.
  static func split(_ bytes: [UInt8]) throws(WorkerError) -> (model: ArraySlice<UInt8>, state: ArraySlice<UInt8>) {
    guard bytes.count >= 8 else {
      throw .damagedState("the state received from a peer has \(bytes.count) bytes, its header alone takes 8")
    }
    let modelByteCount = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[$1]) << UInt64(8 * $1) }
    guard modelByteCount <= UInt64(bytes.count - 8) else {
      throw .damagedState(
        "the state received from a peer announces a model of \(modelByteCount) bytes and has \(bytes.count) in all")
    }
    let border = 8 + Int(modelByteCount)
    return (bytes[8..<border], bytes[border...])
  }
}
