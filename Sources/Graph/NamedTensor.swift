// A tensor outside the compute engine: what checkpoints, initial weights and exports pass around.

/// A named, typed, shaped block of little-endian bytes.
public struct NamedTensor: Sendable, Hashable {
  /// Element types that checkpoints and exports hold.
  public enum ElementType: String, Sendable, Hashable, CaseIterable {
    case float32, float16, int8, uint8, int32, int64, uint64

    /// Bytes per element.
    public var byteCount: Int {
      switch self {
      case .int8, .uint8: 1
      case .float16: 2
      case .float32, .int32: 4
      case .int64, .uint64: 8
      }
    }
  }

  /// Name, torchvision's where there is one.
  public let name: String
  /// Extents, outermost first; empty for a scalar.
  public let shape: [Int]
  /// Type of the elements.
  public let elementType: ElementType
  /// Elements in row-major order, little-endian.
  public let bytes: [UInt8]

  /// Makes a tensor from bytes.
  /// - Throws: `GraphError.invalidTensor` when shape, type and byte count disagree.
  public init(name: String, shape: [Int], elementType: ElementType, bytes: [UInt8]) throws {
    guard let expected = Self.byteCount(shape: shape, elementType: elementType), expected == bytes.count else {
      throw GraphError(
        .invalidTensor, "\(elementType) of shape \(shape) does not take \(bytes.count) bytes", location: name)
    }
    self.init(name: name, shape: shape, elementType: elementType, uncheckedBytes: bytes)
  }

  private init(name: String, shape: [Int], elementType: ElementType, uncheckedBytes bytes: [UInt8]) {
    self.name = name
    self.shape = shape
    self.elementType = elementType
    self.bytes = bytes
  }

  /// Makes a float32 tensor; the shape must hold exactly the values.
  public init(name: String, shape: [Int], floats: [Float]) {
    self.init(name: name, shape: shape, elementType: .float32, elements: floats)
  }

  /// Makes an int8 tensor; the shape must hold exactly the values.
  public init(name: String, shape: [Int], int8s: [Int8]) {
    self.init(name: name, shape: shape, elementType: .int8, elements: int8s)
  }

  /// Makes an int64 tensor; the shape must hold exactly the values.
  public init(name: String, shape: [Int], int64s: [Int64]) {
    self.init(name: name, shape: shape, elementType: .int64, elements: int64s)
  }

  /// Makes a uint64 tensor; the shape must hold exactly the values.
  public init(name: String, shape: [Int], uint64s: [UInt64]) {
    self.init(name: name, shape: shape, elementType: .uint64, elements: uint64s)
  }

  private init<Element: BitwiseCopyable>(
    name: String, shape: [Int], elementType: ElementType, elements: [Element]
  ) {
    precondition(
      shape.reduce(1, *) == elements.count, "\(name): \(elements.count) values for shape \(shape)")
    let bytes = elements.withUnsafeBytes { [UInt8]($0) }
    self.init(name: name, shape: shape, elementType: elementType, uncheckedBytes: bytes)
  }

  /// Number of elements.
  public var elementCount: Int { bytes.count / elementType.byteCount }

  /// The same tensor under another name.
  public func renamed(_ name: String) -> NamedTensor {
    NamedTensor(name: name, shape: shape, elementType: elementType, uncheckedBytes: bytes)
  }

  /// The bytes a shape takes; `nil` for a negative extent or a product beyond Int.
  public static func byteCount(shape: [Int], elementType: ElementType) -> Int? {
    var count = elementType.byteCount
    for extent in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard extent >= 0, !overflow else { return nil }
      count = product
    }
    return count
  }

  /// The values of a float32 or float16 tensor.
  /// - Throws: `GraphError.invalidTensor` for another type.
  public func floats() throws -> [Float] {
    switch elementType {
    case .float32: return elements(as: Float.self)
    case .float16: return elements(as: Float16.self).map { Float($0) }
    default: throw wrongType("float32 or float16")
    }
  }

  /// The values of an int8 tensor.
  /// - Throws: `GraphError.invalidTensor` for another type.
  public func int8s() throws -> [Int8] { try elements(.int8, as: Int8.self) }

  /// The values of an int64 tensor.
  /// - Throws: `GraphError.invalidTensor` for another type.
  public func int64s() throws -> [Int64] { try elements(.int64, as: Int64.self) }

  /// The values of a uint64 tensor.
  /// - Throws: `GraphError.invalidTensor` for another type.
  public func uint64s() throws -> [UInt64] { try elements(.uint64, as: UInt64.self) }

  private func elements<Element: BitwiseCopyable>(_ type: ElementType, as: Element.Type) throws -> [Element] {
    guard elementType == type else { throw wrongType(type.rawValue) }
    return elements(as: Element.self)
  }

  private func elements<Element: BitwiseCopyable>(as: Element.Type) -> [Element] {
    bytes.withUnsafeBytes { source in
      [Element](unsafeUninitializedCapacity: elementCount) { target, count in
        UnsafeMutableRawBufferPointer(target).copyMemory(from: source)
        count = elementCount
      }
    }
  }

  private func wrongType(_ expected: String) -> GraphError {
    GraphError(.invalidTensor, "holds \(elementType.rawValue); expected \(expected)", location: name)
  }
}
