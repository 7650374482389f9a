// Planning of memory and collecting of stages.

import Testing

@testable import Training

@Suite("Programs")
struct ProgramTests {
  @Test("tensors that live at the same time never share memory, and memory is reused")
  func placement() {
    let random = formulaValues("lifetimes", count: 3 * 200).map { Double($0) + 0.5 }
    let tensors = (0..<200).map { index in
      let tensor = Tensor("t\(index)", byteCount: 1 + Int(random[3 * index] * 5000))
      let first = Int(random[3 * index + 1] * 100)
      tensor.touch(stage: first)
      tensor.touch(stage: first + Int(random[3 * index + 2] * 12))
      return tensor
    }
    let (offsets, end) = Arena.place(tensors)
    for (index, tensor) in tensors.enumerated() {
      #expect(offsets[index].isMultiple(of: 64) && offsets[index] + tensor.byteCount <= end)
      for other in 0..<index {
        let together =
          tensor.firstStage <= tensors[other].lastStage && tensors[other].firstStage <= tensor.lastStage
        let apart =
          offsets[index] + tensor.byteCount <= offsets[other]
          || offsets[other] + tensors[other].byteCount <= offsets[index]
        #expect(!together || apart, "\(tensor.label) and \(tensors[other].label)")
      }
    }
    // Lower bound: the most that is alive at one stage. Greedy placement stays close to it.
    let alive = (0..<112).map { stage in
      tensors.filter { ($0.firstStage...$0.lastStage).contains(stage) }.reduce(0) { $0 + $1.byteCount }
    }
    #expect(end < 2 * (alive.max() ?? 0))
  }

  @Test("consecutive shardwise steps are one stage when threads can take whole shards, else one each")
  func shardwiseSteps() throws {
    for (threads, stageCount) in [(1, 3), (2, 3), (3, 3), (4, 3), (5, 4)] {
      var builder = ProgramBuilder(shardCount: 4, threadCount: threads)
      let local = builder.shardFloats("local", perShard: 1_000)
      let kept = builder.shardFloats("kept", perShard: 1_000)
      builder.emitShardwise("first", using: [local]) { share in
        for index in 0..<share.count(1_000) { local.floats(share)[index] = Float(share.shards.lowerBound + 1) }
      }
      builder.emitShardwise("second", using: [local, kept]) { share in
        for index in 0..<share.count(1_000) where share.part == 0 {
          kept.floats(share)[index] = local.floats(share)[index]
        }
      }
      builder.emitSerialLater("later", using: [kept], completing: [3..<5]) {}
      builder.emit("whole", using: [kept]) { _, _ in }
      #expect(builder.stages.count == stageCount, "\(threads) threads")
      #expect(builder.written.map(\.range) == [3..<5] && builder.written.map(\.stage) == [stageCount - 2])
      let program = try Program(builder)
      program.run(program.stages.indices, on: ThreadPool(threadCount: threads))
      let sharesMemory = stageCount == 3
      #expect(local.byteCount == 4_000 * (sharesMemory ? threads : 4), "\(threads) threads")
      if sharesMemory { #expect((0..<4).map { kept.floats[1_000 * $0 + 999] } == [1, 2, 3, 4]) }
    }
  }

  @Test("the network's input gets no gradient in any phase", arguments: [ExecutionPrecision.fp32, .fp16, .quantized])
  func noGradientOfTheInput(precision: ExecutionPrecision) throws {
    let plan = try JobFixture.plan()
    let graph = precision == .quantized ? try #require(plan.quantizedGraph) : plan.floatGraph
    let executor = try TrainingExecutor(
      graph: graph, layout: plan.layout, reduction: plan.reduction,
      assignment: ShardAssignment(shards: 0..<8, shardCount: 8, samplesPerShard: 2), precision: precision,
      pool: ThreadPool(threadCount: 1))
    let labels = executor.program.stages.map(\.label)
    #expect(labels.contains("conv1 weight gradient") && labels.contains("layer1.0.conv1 input gradient"))
    #expect(!labels.contains("conv1 input gradient"))
  }
}
