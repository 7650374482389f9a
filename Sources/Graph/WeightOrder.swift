// The two orders of a weight tensor, and the way between them.
// Torch: convolution [out][in][kh][kw], linear [out][in]. Kernels: panels of 16 output channels, which are the SIMD lanes,
// [out/16][kh][kw][in][16], where the last panel has out % 16 lanes if out is no multiple of 16. This is how a matrix
// product reads them, so that nothing has to be packed before it (Decision 0019). Vectors are the same in both.
// Inlinable, because an unspecialized call per element takes seconds for the weights of a whole ResNet-18.

/// Converts one tensor between torch order and kernel order.
public struct WeightOrder: Sendable, Hashable {
  /// Output channels of a whole panel.
  public static let panelWidth = 16

  /// Shape in torch order: 4 extents (convolution), 2 (linear) or 1 (vector).
  public let torchShape: [Int]

  /// Makes the converter; the shape must have 1, 2 or 4 extents.
  public init(torchShape: [Int]) {
    precondition([1, 2, 4].contains(torchShape.count), "no kernel order for a tensor of shape \(torchShape)")
    self.torchShape = torchShape
  }

  /// Values in the tensor.
  public var elementCount: Int { torchShape.reduce(1, *) }

  /// Extents as (out, in, taps); a vector has one input and one tap.
  @usableFromInline
  var extents: (out: Int, in: Int, taps: Int) {
    torchShape.count == 1
      ? (torchShape[0], 1, 1) : (torchShape[0], torchShape[1], torchShape.dropFirst(2).reduce(1, *))
  }

  /// Calls body(tap, input, output) for every value, in kernel order.
  @inlinable
  public func visit(_ body: (_ tap: Int, _ input: Int, _ output: Int) throws -> Void) rethrows {
    let (outputs, inputs, taps) = extents
    for panel in stride(from: 0, to: outputs, by: Self.panelWidth) {
      let lanes = panel..<min(panel + Self.panelWidth, outputs)
      for tap in 0..<taps {
        for input in 0..<inputs {
          for output in lanes { try body(tap, input, output) }
        }
      }
    }
  }

  /// Reorders values from torch order to kernel order.
  @inlinable
  public func kernelOrder<Element>(fromTorch values: some RandomAccessCollection<Element>) -> [Element] {
    let (_, inputs, taps) = extents
    let values = checked(values)
    return [Element](unsafeUninitializedCapacity: values.count) { buffer, count in
      visit { tap, input, output in
        buffer.initializeElement(at: count, to: values[(output * inputs + input) * taps + tap])
        count += 1
      }
    }
  }

  /// Reorders values from kernel order to torch order.
  @inlinable
  public func torchOrder<Element>(fromKernel values: some RandomAccessCollection<Element>) -> [Element] {
    let (_, inputs, taps) = extents
    let values = checked(values)
    return [Element](unsafeUninitializedCapacity: values.count) { buffer, count in
      visit { tap, input, output in
        buffer.initializeElement(at: (output * inputs + input) * taps + tap, to: values[count])
        count += 1
      }
    }
  }

  /// Maps values in kernel order, each with its output channel.
  @inlinable
  public func map<Element, Result>(
    _ values: [Element], _ transform: (_ value: Element, _ output: Int) throws -> Result
  ) rethrows -> [Result] {
    let values = checked(values)
    var results: [Result] = []
    results.reserveCapacity(values.count)
    try visit { _, _, output in results.append(try transform(values[results.count], output)) }
    return results
  }

  @usableFromInline
  func checked<Element>(_ values: some RandomAccessCollection<Element>) -> [Element] {
    precondition(values.count == elementCount, "\(values.count) values for a tensor of shape \(torchShape)")
    return Array(values)
  }
}
