// A fixed number of Floats on memory of its own, for state that kernels update in place.
// An array would be copied when it is shared, and its pointer is only valid inside a closure.

/// `count` Floats, aligned to a cache line, zero unless told otherwise.
///
/// `@unchecked Sendable` because the values are plain memory: whoever hands a vector to another thread (a checkpoint writer
/// gets a snapshot) must not write it at the same time.
public final class FloatVector: @unchecked Sendable {
  /// Number of Floats.
  public let count: Int
  /// The first Float; valid as long as the vector, which a local variable only is until its last use: hold it with
  /// `withExtendedLifetime` there.
  public let pointer: UnsafeMutablePointer<Float>
  private let owner: AnyObject?

  /// Makes a vector with every element set to `value`.
  public init(count: Int, repeating value: Float = 0) {
    self.count = count
    owner = nil
    pointer = LargeMemory.allocate(byteCount: max(64, 4 * count)).bindMemory(to: Float.self, capacity: count)
    pointer.initialize(repeating: value, count: count)
  }

  /// Makes a vector on memory that `owner` keeps for as long as it lives.
  public init(count: Int, pointer: UnsafeMutablePointer<Float>, owner: AnyObject) {
    self.count = count
    self.pointer = pointer
    self.owner = owner
  }

  /// Makes a vector of an array's values.
  public convenience init(_ values: [Float]) {
    self.init(count: values.count)
    copy(from: values)
  }

  deinit { if owner == nil { pointer.deallocate() } }

  /// The values as an array (a copy).
  public var values: [Float] { [Float](UnsafeBufferPointer(start: pointer, count: count)) }

  /// Takes over the values of another vector of the same count.
  public func copy(from other: FloatVector) {
    precondition(other.count == count, "\(other.count) values for a vector of \(count)")
    pointer.update(from: other.pointer, count: count)
  }

  /// Takes over the values of an array of the same count.
  public func copy(from values: [Float]) {
    precondition(values.count == count, "\(values.count) values for a vector of \(count)")
    values.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      pointer.update(from: base, count: count)
    }
  }
}
