// The yardsticks do the work that they count.

import Kernels
import Testing

@Suite("Peak loops")
struct PeakTests {
  @Test("every chain of floats gets its multiply-adds", arguments: InstructionSet.supported)
  func floats(level: InstructionSet) {
    let repetitions = 100
    let values = Buffer((0..<16 * 16).map { $0 < 16 ? 2 : $0 < 32 ? 3 : Float($0) })
    let operations = level.peakKernels.multiplyAddChains(values.pointer, repetitions: repetitions)
    let changed = (32..<256).filter { values.values[$0] != Float($0) }
    #expect(operations == repetitions * changed.count)
    #expect(changed.allSatisfy { values.values[$0] == Float($0) + 600 })
    #expect(changed.count >= 6 * 16)
    #expect(values.intact)
  }

  @Test("every chain of dot products gets its multiply-adds", arguments: InstructionSet.supported)
  func integers(level: InstructionSet) {
    // a is 1, 1, 1, 1 and b 2, 2, 2, 2 in every word.
    let words = (0..<16 * 16).map { $0 < 16 ? Int32(0x0101_0101) : $0 < 32 ? Int32(0x0202_0202) : Int32($0) }
    let values = Buffer(words)
    let operations = level.peakKernels.dotProductChains(values.pointer, repetitions: 100)
    let changed = (32..<256).filter { values.values[$0] != Int32($0) }
    let perWord = level == .avx512vnni ? 4 : 2
    #expect(operations == 100 * perWord * changed.count)
    #expect(changed.count >= 6 * 16)
    #expect(
      changed.allSatisfy { index in
        var value = Int32(index)
        for _ in 0..<100 {
          let (low, high) = ((value << 16) >> 16, value >> 16)
          // Bytes: each step adds 8.
          value = perWord == 4 ? value + 8 : 0x0202_0202 &+ 0x0101 &* low &+ 0x0101 &* high
        }
        return values.values[index] == value
      })
    #expect(values.intact)
  }
}
