// The same bits on a processor without AVX-512, emulated by qemu-user (Debian's qemu-user; .ci/run installs it).
// The kernel suite on the same processor: Scripts/test-emulated-processor.sh.
import Communication
import Foundation
import Kernels
import Testing

@Suite("The result does not depend on the processor", .enabled(if: TestCluster.isEnabled), .serialized)
struct EmulatedProcessorTests {
  private static let emulator = "/usr/bin/qemu-x86_64"
  private static let hasEmulator = FileManager.default.isExecutableFile(atPath: emulator)
  /// Haswell: AVX2, FMA and F16C, nothing newer.
  private static let haswell = [emulator, "-cpu", "Haswell"]

  /// TinyJob in two epochs of two steps, the second quantized, because emulation is slow; with the workers that it waits for.
  private static func spec(workers: Int) -> String {
    TinyJob.spec(epochs: 2, startEpoch: 2, trainCount: 32, minimumWorkers: workers)
      .replacingOccurrences(of: "batchSize: 32", with: "batchSize: 16")
      .replacingOccurrences(of: "method: balanced", with: "method: natural")
      .replacingOccurrences(of: "testCount: 128", with: "testCount: 40")
      .replacingOccurrences(of: "warmupEpochs: 1", with: "warmupEpochs: 0.5")
      .replacingOccurrences(of: "joinWindowMilliseconds: 200", with: "joinWindowMilliseconds: 200, hangSeconds: 120")
  }

  /// The state's hash after training by these workers, each started through a wrapper.
  private func result(_ workers: [[String]], expecting instructionSets: [String]) throws -> String {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for (index, wrapper) in workers.enumerated() { try cluster.startWorker("w-\(index + 1)", through: wrapper) }
    let hash = try cluster.result(try cluster.submit(Self.spec(workers: workers.count)))
    for (index, name) in instructionSets.enumerated() {
      let line = "is w-\(index + 1): 1 threads, \(name), "
      #expect(cluster.log("coordinator").contains(line), "worker \(index + 1) says what it computes with")
    }
    return hash
  }

  @Test("nor on the instruction set: an emulated Haswell beside this processor, and the lower levels of this one")
  func haswell() throws {
    let native = try result([[]], expecting: [])
    for level in InstructionSet.supported.dropLast() {
      let wrapper = ["/usr/bin/env", "TEMPER_INSTRUCTION_SET=\(level.rawValue)"]
      #expect(try result([wrapper], expecting: [level.rawValue]) == native, "\(level)")
    }
    try #require(Self.hasEmulator, "install qemu-user")
    #expect(try result([Self.haswell, []], expecting: ["avx2"]) == native)
  }
}
