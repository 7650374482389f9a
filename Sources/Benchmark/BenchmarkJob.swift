// The job that step benchmarks train: torchvision's ResNet-18 at full width on noise, through the trainer of real jobs.

import Communication
import Data
import Graph
import JobSpec
import Training
import Worker

/// One member of a job that trains ResNet-18 on synthetic images, in one precision.
struct BenchmarkJob {
  static let classCount = 5
  static let channels = 3

  let plan: JobPlan
  let state: TrainingState
  let trainer: Trainer
  let reducer: any Reducer
  let profile: StepProfile

  /// Prepares a member.
  ///
  /// - Parameters:
  ///   - rank: the member, which holds an even share of the shards.
  ///   - mesh: links to the other members; `nil` when there is one alone.
  /// - Throws: `TrainingError` or `GraphError` when the images are too small for the model or its shards.
  init(
    _ precision: StepBenchmark.Precision, _ options: StepBenchmark.Options, rank: Int = 0, mesh: PeerMesh? = nil
  ) throws {
    let shardCount = options.virtualShards
    let ranges = (0..<options.workers).map {
      shardCount * $0 / options.workers..<shardCount * ($0 + 1) / options.workers
    }
    let dataset = Self.dataset(size: options.size, count: 2 * options.batch)
    let spec = Self.spec(precision, batch: options.batch, virtualShards: shardCount)
    plan = try JobPlan(spec: spec, data: JobPlan.DataShape(dataset.manifest))
    state = try TrainingState.initial(plan: plan)
    if let mesh {
      reducer = try ClusterReducer(mesh: mesh, plan: plan.reduction, ranges: ranges, shardCount: shardCount)
      try SharedState.begin(state, over: mesh)
    } else {
      reducer = LocalReducer(plan: plan.reduction)
    }
    trainer = try Trainer(
      plan: plan, state: state, dataset: dataset, ranges: ranges, rank: rank, threads: options.threads,
      makeVector: mesh == nil ? { FloatVector(count: $0) } : FloatVector.shared)
    profile = StepProfile(threadCount: options.threads)
    trainer.profile = profile
  }

  /// SGD with Nesterov momentum and weight decay; a learning rate that leaves weights nearly as they are, because noise teaches nothing
  /// and would make many steps diverge.
  private static func spec(_ precision: StepBenchmark.Precision, batch: Int, virtualShards: Int) -> JobSpec {
    var spec = JobSpec(name: "benchmark")
    spec.data.normalization = .init()
    spec.data.normalization.mean = [127.5]
    spec.data.normalization.deviation = [74]
    spec.training.epochs = 1_000_000
    spec.training.batchSize = batch
    spec.training.virtualShards = virtualShards
    spec.training.precision = precision == .fp16 ? .fp16 : .fp32
    spec.training.optimizer.learningRate = 1e-6
    spec.training.schedule.method = .constant
    spec.training.lossScale.initial = 16
    spec.training.lossScale.growthInterval = 1_000_000
    spec.quantization.enabled = precision == .qat
    spec.quantization.startEpoch = 1
    spec.quantization.calibrationBatches = 1
    return spec
  }

  /// Uniform noise; labels in turn.
  private static func dataset(size: Int, count: Int) -> InMemoryDataset {
    func samples(_ count: Int, seed: UInt64) -> SampleSet {
      // xorshift64 (Marsaglia 2003): eight pixels per draw.
      var state = seed
      let byteCount = count * size * size * channels
      let pixels = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, initialized in
        for index in 0..<byteCount {
          if index % 8 == 0 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
          }
          buffer[index] = UInt8(truncatingIfNeeded: state >> UInt64(8 * (index % 8)))
        }
        initialized = byteCount
      }
      return SampleSet(
        pixels: pixels, labels: (0..<count).map { UInt16($0 % classCount) }, height: size, width: size,
        channels: channels, classCount: classCount)
    }
    return InMemoryDataset(
      name: "noise", classNames: (0..<classCount).map { "class \($0)" }, train: samples(count, seed: 0x9E37_79B9),
      test: samples(classCount, seed: 0x7F4A_7C15))
  }

  /// Multiplications and additions of a step's products: forward, weight gradient, and input gradient where one is needed.
  var operationsPerStep: Double {
    let graph = plan.floatGraph
    var operations = 0.0
    for node in graph.nodes {
      let pixels = Double(node.shape.pixelCount * plan.spec.training.batchSize)
      switch node.operation {
      case .convolution(let convolution):
        let taps = convolution.kernel * convolution.kernel
        let products = pixels * Double(taps * convolution.inputChannels * convolution.outputChannels)
        operations += 2 * products * (node.inputs[0] == graph.input ? 2 : 3)
      case .linear(let linear):
        operations += 6 * pixels * Double(linear.inputChannels * linear.outputChannels)
      default: break
      }
    }
    return operations
  }
}
