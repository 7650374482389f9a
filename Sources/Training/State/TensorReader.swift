// Reads expected tensors by name and keeps account of them, so that a checkpoint of another job is refused by name.

import Graph

/// Takes tensors out of a checkpoint, each exactly once.
struct TensorReader {
  private var tensors: [String: NamedTensor]

  init(_ tensors: [NamedTensor]) {
    self.tensors = Dictionary(tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// A flat parameter vector from tensors named prefix + parameter.
  mutating func vector(of layout: ParameterLayout, prefix: String) throws -> [Float] {
    var values = [Float](repeating: 0, count: layout.parameterElementCount)
    for entry in layout.parameters {
      let floats = try floats(prefix + entry.parameter.name, shape: entry.parameter.torchShape)
      values.replaceSubrange(entry.range, with: entry.parameter.weightOrder.kernelOrder(fromTorch: floats))
    }
    return values
  }

  /// A flat buffer vector from tensors named prefix + buffer.
  mutating func buffers(of layout: ParameterLayout, prefix: String) throws -> [Float] {
    var values = [Float](repeating: 0, count: layout.bufferElementCount)
    for entry in layout.buffers {
      values.replaceSubrange(entry.range, with: try floats(prefix + entry.buffer.name, shape: [entry.elementCount]))
    }
    return values
  }

  /// A scalar of type float32.
  mutating func float(_ name: String) throws -> Float { try floats(name, shape: [])[0] }

  /// A scalar of type uint64 that counts something; more than 2^53 is refused as damage.
  mutating func count(_ name: String) throws -> UInt64 {
    let value = try take(name, shape: [], type: .uint64).uint64s()[0]
    guard value <= 1 << 53 else {
      throw TrainingError(.invalidState, "is \(value); no job counts that far", location: name)
    }
    return value
  }

  /// Refuses a checkpoint with tensors that this job does not have.
  func expectNothingElse() throws {
    guard let name = tensors.keys.min() else { return }
    throw TrainingError(
      .invalidState, "this job has no such tensor (\(tensors.count) in all)",
      hint: "the checkpoint is of a job with another model, optimizer, EMA or quantization", location: name)
  }

  private mutating func floats(_ name: String, shape: [Int]) throws -> [Float] {
    try take(name, shape: shape, type: .float32).floats()
  }

  private mutating func take(_ name: String, shape: [Int], type: NamedTensor.ElementType) throws -> NamedTensor {
    guard let tensor = tensors.removeValue(forKey: name) else {
      throw TrainingError(
        .invalidState, "tensor is missing; expected \(type.rawValue) of shape \(shape)",
        hint: "the checkpoint is of a job with another model, optimizer, EMA or quantization", location: name)
    }
    guard tensor.shape == shape, tensor.elementType == type else {
      throw TrainingError(
        .invalidState,
        "found \(tensor.elementType.rawValue) of shape \(tensor.shape), expected \(type.rawValue) of shape \(shape)",
        hint: "the checkpoint is of a job with another model", location: name)
    }
    return tensor
  }
}
