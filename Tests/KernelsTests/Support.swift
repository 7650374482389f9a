// Buffers with guards, random values, and the loop over instruction sets and parts that every test uses.

import Kernels
import Testing

/// A buffer between two guards of 64 elements, so that a kernel writing out of bounds is caught.
///
/// For floats the guards are NaN, so that a kernel using what it should not read shows as well.
final class Buffer<Element: BitwiseCopyable & Equatable> {
  let count: Int
  let pointer: UnsafeMutablePointer<Element>
  private let start: UnsafeMutableRawPointer
  private let guardBytes = 64 * MemoryLayout<Element>.stride

  init(_ values: [Element]) {
    count = values.count
    let byteCount = 2 * guardBytes + count * MemoryLayout<Element>.stride
    start = .allocate(byteCount: byteCount, alignment: 64)
    start.initializeMemory(as: UInt8.self, repeating: 0xFF, count: byteCount)
    let first = (start + guardBytes).bindMemory(to: Element.self, capacity: max(count, 1))
    for (index, value) in values.enumerated() { (first + index).initialize(to: value) }
    pointer = first
  }

  convenience init(repeating value: Element, count: Int) { self.init(Array(repeating: value, count: count)) }

  deinit { start.deallocate() }

  var constant: UnsafePointer<Element> { UnsafePointer(pointer) }
  var values: [Element] { Array(UnsafeBufferPointer(start: constant, count: count)) }

  /// Whether both guards are as they were made.
  var intact: Bool {
    let end = guardBytes + count * MemoryLayout<Element>.stride
    return (0..<guardBytes).allSatisfy {
      start.load(fromByteOffset: $0, as: UInt8.self) == 0xFF
        && start.load(fromByteOffset: end + $0, as: UInt8.self) == 0xFF
    }
  }
}

/// SplitMix64 (Steele, Lea, Flood 2014), so that inputs are the same in every run.
struct Random {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in -1..<1, with 23 bits.
  mutating func float() -> Float { Float(Int32(truncatingIfNeeded: next() >> 40) - (1 << 23)) / Float(1 << 23) }

  mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in float() } }

  mutating func integers(_ count: Int, _ range: ClosedRange<Int>) -> [Int] {
    (0..<count).map { _ in range.lowerBound + Int(next() % UInt64(range.count)) }
  }
}

/// The kernels of each level that this processor can run.
let levels = InstructionSet.supported.map { (name: $0.rawValue, kernels: $0.kernels) }

/// How many parts the tests split work into; 3 leaves uneven shares, 7 empty ones.
let partCounts = [1, 2, 3, 7]

/// The bits of floats, for comparisons that tell -0 from 0 and NaN from NaN.
func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

/// Runs `body` for every level and number of parts, and expects the same bits each time.
///
/// - Parameter body: runs all parts of one kernel call on fresh outputs, and gives the outputs.
/// - Returns: the outputs of the first level in one part.
@discardableResult
func expectSameBits(
  _ label: String = "", sourceLocation: SourceLocation = #_sourceLocation,
  _ body: (any KernelSet.Type, _ parts: Int) -> [Float]
) -> [Float] {
  var first: [Float]?
  for level in levels {
    for parts in partCounts {
      let result = body(level.kernels, parts)
      guard let expected = first else {
        first = result
        continue
      }
      let difference = zip(bits(result), bits(expected)).enumerated().first { $0.element.0 != $0.element.1 }?.offset
      #expect(
        difference == nil && result.count == expected.count,
        "\(label) \(level.name), \(parts) parts: element \(difference ?? -1) differs", sourceLocation: sourceLocation)
    }
  }
  if let first { ResultDigest.shared?.record(bits(first), label, sourceLocation) }
  return first ?? []
}

/// Expects |actual - expected| <= bound, element by element.
func expectClose(
  _ actual: [Float], _ expected: [Double], within bounds: [Double], _ label: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(actual.count == expected.count, sourceLocation: sourceLocation)
  for index in actual.indices where !(abs(Double(actual[index]) - expected[index]) <= bounds[index]) {
    Issue.record(
      "\(label) element \(index): \(actual[index]) instead of \(expected[index]) within \(bounds[index])",
      sourceLocation: sourceLocation)
    return
  }
}

/// Half an ulp of float, relative.
let halfUlp = 0x1p-24
