// How gradients travel as halves (`gradients: fp16`): every leaf and node of the shard tree is fp16(value * scale) / scale, scale a
// power of two, so what is sent is what was summed and the bits are the same for any assignment. Members round the nodes
// that they sum themselves in the kernels; the rest of the tree is rounded here, between members.

/// Conversion between floats and halves; given by the caller, whose kernels do it at the speed of memory.
public struct HalfFormat: Sendable {
  /// Writes fp16(value * scale) of `count` floats, 2 bytes each.
  public var encode:
    @Sendable (_ from: UnsafePointer<Float>, _ count: Int, _ scale: Float, _ to: UnsafeMutableRawPointer) -> Void
  /// Writes half / scale of `count` halves, exactly.
  public var decode:
    @Sendable (_ from: UnsafeRawPointer, _ count: Int, _ scale: Float, _ to: UnsafeMutablePointer<Float>) -> Void

  /// Memberwise; neither function needs aligned halves.
  public init(
    encode: @escaping @Sendable (UnsafePointer<Float>, Int, Float, UnsafeMutableRawPointer) -> Void,
    decode: @escaping @Sendable (UnsafeRawPointer, Int, Float, UnsafeMutablePointer<Float>) -> Void
  ) {
    self.encode = encode
    self.decode = decode
  }
}
