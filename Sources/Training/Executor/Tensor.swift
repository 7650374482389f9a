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
    /// The same, in memory of all members that share the loading of weights, where there is such memory.
    case shared
  }

  /// What it holds, for messages and profiles.
  let label: String
  /// Size in bytes.
  private(set) var byteCount: Int
  let lifetime: Lifetime
  /// Indices of the first and the last stage that name it; empty (first > last) while no stage does.
  private(set) var firstStage = Int.max
  private(set) var lastStage = -1
  /// Bytes of one shard where stages ask for shards by `floats(_:)`; 0 elsewhere.
  private let shardByteCount: Int
  /// Whether it holds one shard per thread instead of all shards.
  private var holdsOneShardPerThread = false
  private var base: UnsafeMutableRawPointer?

  init(_ label: String, byteCount: Int, shardByteCount: Int = 0, lifetime: Lifetime = .transient) {
    self.label = label
    self.byteCount = byteCount
    self.shardByteCount = shardByteCount
    self.lifetime = lifetime
  }

  /// Notes that a stage reads or writes it.
  func touch(stage: Int) {
    firstStage = min(firstStage, stage)
    lastStage = max(lastStage, stage)
  }

  /// Shrinks to one shard per thread if only this stage, in which each thread takes one shard after the other, names it.
  func shrink(ifOnlyIn stage: Int, threadCount: Int) {
    guard lifetime == .transient, shardByteCount > 0, firstStage == stage, lastStage == stage else { return }
    holdsOneShardPerThread = true
    byteCount = min(byteCount, threadCount * shardByteCount)
  }

  /// Sets the address.
  func place(at address: UnsafeMutableRawPointer) { base = address }

  /// The address, which exists only after planning.
  var bytes: UnsafeMutableRawPointer {
    guard let base else { preconditionFailure("tensor \(label) is used before memory is planned") }
    return base
  }
  /// The floats of all shards.
  var floats: UnsafeMutablePointer<Float> {
    precondition(!holdsOneShardPerThread, "tensor \(label) holds single shards")
    return bytes.assumingMemoryBound(to: Float.self)
  }
  /// The floats of the first of these shards, the others behind them.
  func floats(_ share: ShardShare) -> UnsafeMutablePointer<Float> {
    let place = holdsOneShardPerThread ? share.thread : share.shards.lowerBound
    return (bytes + place * shardByteCount).assumingMemoryBound(to: Float.self)
  }
  var halves: UnsafeMutablePointer<Float16> { bytes.assumingMemoryBound(to: Float16.self) }
  var int16s: UnsafeMutablePointer<Int16> { bytes.assumingMemoryBound(to: Int16.self) }
  var int32s: UnsafeMutablePointer<Int32> { bytes.assumingMemoryBound(to: Int32.self) }
  var int8s: UnsafeMutablePointer<Int8> { bytes.assumingMemoryBound(to: Int8.self) }
  var uint8s: UnsafeMutablePointer<UInt8> { bytes.assumingMemoryBound(to: UInt8.self) }
  var masks: UnsafeMutablePointer<UInt16> { bytes.assumingMemoryBound(to: UInt16.self) }
}
