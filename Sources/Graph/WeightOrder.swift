// The two orders of a weight tensor, and the way between them.
// Torch: convolution [out][in][kh][kw], linear [out][in]. Kernels: [kh][kw][in][out], [in][out], so that the output
// channels, which are the SIMD lanes, are contiguous. Vectors are the same in both.
// Inlinable, because an unspecialized call per element takes seconds for the weights of a whole ResNet-18.

/// Converts one tensor between torch order and kernel order.
public struct WeightOrder: Sendable, Hashable {
  /// Shape in torch order: 4 extents (convolution), 2 (linear) or 1 (vector).
  public let torchShape: [Int]

  /// Makes the converter; the shape must have 1, 2 or 4 extents.
  public init(torchShape: [Int]) {
    precondition([1, 2, 4].contains(torchShape.count), "no kernel order for a tensor of shape \(torchShape)")
    self.torchShape = torchShape
  }

  /// Shape in kernel order: [kh, kw, in, out], [in, out] or [count].
  public var kernelShape: [Int] {
    torchShape.count == 1 ? torchShape : Array(torchShape[2...]) + [torchShape[1], torchShape[0]]
  }

  /// Values in the tensor.
  public var elementCount: Int { torchShape.reduce(1, *) }

  /// Extents as (out, in, taps); a vector has one input and one tap.
  @usableFromInline
  var extents: (out: Int, in: Int, taps: Int) {
    torchShape.count == 1
      ? (torchShape[0], 1, 1) : (torchShape[0], torchShape[1], torchShape.dropFirst(2).reduce(1, *))
  }

  /// Reorders values from torch order to kernel order.
  @inlinable
  public func kernelOrder<Element>(fromTorch values: some RandomAccessCollection<Element>) -> [Element] {
    let (outputs, inputs, taps) = extents
    let values = checked(values)
    return [Element](unsafeUninitializedCapacity: values.count) { buffer, count in
      for tap in 0..<taps {
        for input in 0..<inputs {
          for output in 0..<outputs {
            buffer.initializeElement(at: count, to: values[(output * inputs + input) * taps + tap])
            count += 1
          }
        }
      }
    }
  }

  /// Reorders values from kernel order to torch order.
  @inlinable
  public func torchOrder<Element>(fromKernel values: some RandomAccessCollection<Element>) -> [Element] {
    let (outputs, inputs, taps) = extents
    let values = checked(values)
    return [Element](unsafeUninitializedCapacity: values.count) { buffer, count in
      for output in 0..<outputs {
        for input in 0..<inputs {
          for tap in 0..<taps {
            buffer.initializeElement(at: count, to: values[(tap * inputs + input) * outputs + output])
            count += 1
          }
        }
      }
    }
  }

  @usableFromInline
  func checked<Element>(_ values: some RandomAccessCollection<Element>) -> [Element] {
    precondition(values.count == elementCount, "\(values.count) values for a tensor of shape \(torchShape)")
    return Array(values)
  }
}
