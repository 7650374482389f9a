import Kernels
import Testing

@Suite("Choosing an instruction set")
struct InstructionSetTests {
  @Test("the best level that runs here is chosen without a request")
  func best() {
    let (level, reason) = InstructionSet.choose(request: nil, supported: [.avx2, .avx512])
    #expect(level == .avx512)
    #expect(reason == "avx512 (best of this processor)")
  }

  @Test("a request that can run here is obeyed")
  func request() {
    let (level, reason) = InstructionSet.choose(request: "avx2", supported: [.avx2, .avx512])
    #expect(level == .avx2)
    #expect(reason == "avx2 (asked for by TEMPER_INSTRUCTION_SET)")
  }

  @Test("a request that cannot run here falls back to the best level and says so", arguments: ["avx512vnni", "sse9"])
  func unsupported(request: String) {
    let (level, reason) = InstructionSet.choose(request: request, supported: [.avx2, .avx512])
    #expect(level == .avx512)
    #expect(
      reason == "avx512 (TEMPER_INSTRUCTION_SET=\(request) cannot run here; this processor has avx2, avx512)")
  }
}
