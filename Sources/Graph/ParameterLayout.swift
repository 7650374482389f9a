// Where every parameter and buffer lies in the flat vectors that training, the optimizer and the all-reduce work on.
// A function of the graph alone: no fake-quantize node changes it, so it is the same in every phase and on every rank.

/// Offsets of parameters and buffers in two flat float vectors.
///
/// Entries stand in graph order, each starts at a multiple of 16 floats (one SIMD16), gaps are zero and stay zero.
/// Weights are in kernel order, see `WeightOrder`.
public struct ParameterLayout: Sendable, Hashable {
  /// Floats that every entry's offset is a multiple of.
  public static let alignment = 16

  /// A parameter's place in the parameter vector.
  public struct ParameterEntry: Sendable, Hashable {
    /// Which parameter.
    public let parameter: Parameter
    /// Index of its first value.
    public let offset: Int
    /// Values it has.
    public var elementCount: Int { parameter.elementCount }
    /// Indices of its values.
    public var range: Range<Int> { offset..<offset + elementCount }
  }

  /// A buffer's place in the buffer vector.
  public struct BufferEntry: Sendable, Hashable {
    /// Which buffer.
    public let buffer: Buffer
    /// Index of its first value.
    public let offset: Int
    /// Values it has.
    public var elementCount: Int { buffer.elementCount }
    /// Indices of its values.
    public var range: Range<Int> { offset..<offset + elementCount }
  }

  /// Parameters in graph order.
  public let parameters: [ParameterEntry]
  /// Length of the parameter vector, padding included; a multiple of 16.
  public let parameterElementCount: Int
  /// Buffers in graph order.
  public let buffers: [BufferEntry]
  /// Length of the buffer vector, padding included; a multiple of 16.
  public let bufferElementCount: Int
  private let parameterIndex: [String: Int]
  private let bufferIndex: [String: Int]

  /// Lays out a graph.
  public init(_ graph: Graph) {
    var end = 0
    func place(_ count: Int) -> Int {
      defer { end += (count + Self.alignment - 1) / Self.alignment * Self.alignment }
      return end
    }
    parameters = graph.parameters.map { ParameterEntry(parameter: $0, offset: place($0.elementCount)) }
    parameterElementCount = end
    end = 0
    buffers = graph.buffers.map { BufferEntry(buffer: $0, offset: place($0.elementCount)) }
    bufferElementCount = end
    parameterIndex = Dictionary(
      uniqueKeysWithValues: parameters.enumerated().map { ($1.parameter.name, $0) })
    bufferIndex = Dictionary(uniqueKeysWithValues: buffers.enumerated().map { ($1.buffer.name, $0) })
  }

  /// The place of a parameter, "layer1.0.conv1.weight".
  public func parameter(named name: String) -> ParameterEntry? { parameterIndex[name].map { parameters[$0] } }

  /// The place of a buffer, "layer1.0.bn1.running_mean".
  public func buffer(named name: String) -> BufferEntry? { bufferIndex[name].map { buffers[$0] } }
}
