// A block of memory of a program; where it lies is decided after the whole program is known.

/// Memory that stages read and write: its size is known when the program is built, its address once it is planned.
///
/// Stages capture tensors and ask for the address when they run.
final class Tensor {
  /// How long the contents must last.
  enum Lifetime {
    /// From the first stage that names it to the last; the memory is shared with others before and after.
    case transient
    /// For as long as the program exists; zero at the start.
    case persistent
  }

  /// What it holds, for messages and profiles.
  let label: String
  /// Size in bytes.
  let byteCount: Int
  let lifetime: Lifetime
  /// Indices of the first and the last stage that name it; empty (first > last) while no stage does.
  private(set) var firstStage = Int.max
  private(set) var lastStage = -1
  private var base: UnsafeMutableRawPointer?

  init(_ label: String, byteCount: Int, lifetime: Lifetime = .transient) {
    self.label = label
    self.byteCount = byteCount
    self.lifetime = lifetime
  }

  /// Notes that a stage reads or writes it.
  func touch(stage: Int) {
    firstStage = min(firstStage, stage)
    lastStage = max(lastStage, stage)
  }

  /// Sets the address.
  func place(at address: UnsafeMutableRawPointer) { base = address }

  /// The address, which exists only after planning.
  var bytes: UnsafeMutableRawPointer {
    guard let base else { preconditionFailure("tensor \(label) is used before memory is planned") }
    return base
  }
  var floats: UnsafeMutablePointer<Float> { bytes.assumingMemoryBound(to: Float.self) }
  var halves: UnsafeMutablePointer<Float16> { bytes.assumingMemoryBound(to: Float16.self) }
  var int8s: UnsafeMutablePointer<Int8> { bytes.assumingMemoryBound(to: Int8.self) }
  var uint8s: UnsafeMutablePointer<UInt8> { bytes.assumingMemoryBound(to: UInt8.self) }
  var masks: UnsafeMutablePointer<UInt16> { bytes.assumingMemoryBound(to: UInt16.self) }
}
