// What `temper bench step` reports; the names of the stored properties are those of its JSON object.

import JobSpec
import Training

extension StepBenchmark {
  /// The result of a measurement.
  public struct Result: Codable, Sendable, Hashable {
    /// The precision's steps.
    public struct Phase: Codable, Sendable, Hashable {
      /// Arithmetic of the step.
      public let precision: Precision
      /// Median time of a step.
      public let medianMilliseconds: Double
      /// Samples per second at the median.
      public let imagesPerSecond: Double
      /// 10^9 multiplications and additions of convolutions and linear layers, forward and backward, per second at the median.
      public let gigaflopsPerSecond: Double
      /// Bytes of activations, their gradients and scratch that a step needs at its peak; not the batch, weights and sums.
      public let activationBytes: Int
      /// Bytes of what the forward pass keeps for the backward pass.
      public let savedActivationBytes: Int
      /// Milliseconds by part: its share of all measured steps, times the median, so that the parts add up to it.
      public let parts: [String: Double]
      /// Spread of the times of a step in milliseconds.
      public let milliseconds: Distribution
      /// Steps whose FP16 gradient was not finite, which makes a step shorter; 0 in a sound measurement.
      public let skippedSteps: Int
    }

    /// Which measurement this is.
    public let benchmark: String
    /// Name of the network.
    public let model: String
    /// Multiplier of its widths.
    public let width: Double
    /// First layers.
    public let stem: String
    /// Height and width of an image in pixels.
    public let size: Int
    /// Channels of an image.
    public let channels: Int
    /// Classes.
    public let classes: Int
    /// Samples of the global batch.
    public let batch: Int
    /// Virtual shards of the batch.
    public let virtualShards: Int
    /// Members.
    public let workers: Int
    /// Threads of the member.
    public let threads: Int
    /// The update rule.
    public let optimizer: String
    /// Instructions that the kernels use.
    public let instructionSet: String
    /// The machine.
    public let machine: Machine
    /// Measured steps per precision.
    public let repetitions: Int
    /// Steps per precision before that.
    public let warmUpSteps: Int
    /// One entry per precision, in the order of their turns.
    public let phases: [Phase]
    /// Time of a step relative to FP32's, by precision; empty without FP32.
    public let timeRelativeToFP32: [String: Double]
    /// Activation memory relative to FP32's, by precision; empty without FP32.
    public let activationBytesRelativeToFP32: [String: Double]
  }
}

extension StepBenchmark.Result {
  init(_ options: StepBenchmark.Options, phases: [Phase]) {
    benchmark = "step"
    model = "resnet18"
    width = 1
    stem = "imagenet"
    size = options.size
    channels = BenchmarkJob.channels
    classes = BenchmarkJob.classCount
    batch = options.batch
    virtualShards = options.virtualShards
    workers = 1
    threads = options.threads
    optimizer = "SGD, Nesterov momentum 0.9, weight decay 0.0005"
    instructionSet = Machine.instructionSet
    machine = .current
    repetitions = options.repetitions
    warmUpSteps = options.warmUpSteps
    self.phases = phases
    let others = phases.filter { $0.precision != .fp32 }
    func relative(_ value: (Phase) -> Double) -> [String: Double] {
      guard let reference = phases.first(where: { $0.precision == .fp32 }).map(value) else { return [:] }
      return Dictionary(uniqueKeysWithValues: others.map { ($0.precision.rawValue, value($0) / reference) })
    }
    timeRelativeToFP32 = relative(\.medianMilliseconds)
    activationBytesRelativeToFP32 = relative { Double($0.activationBytes) }
  }
}

extension StepBenchmark.Result.Phase {
  init(_ precision: StepBenchmark.Precision, _ job: BenchmarkJob, milliseconds: [Double]) {
    let distribution = Distribution(milliseconds)
    let seconds = distribution.median / 1e3
    let times = job.profile.times
    let total = Double(times.values.reduce(0, +))
    self.precision = precision
    medianMilliseconds = distribution.median
    imagesPerSecond = Double(job.plan.spec.training.batchSize) / seconds
    gigaflopsPerSecond = job.operationsPerStep / seconds / 1e9
    let bytes = job.trainer.activationByteCounts
    activationBytes = bytes.peak
    savedActivationBytes = bytes.saved
    parts = Dictionary(
      uniqueKeysWithValues: StepPart.allCases.map {
        ($0.rawValue, Double(times[$0] ?? 0) / total * distribution.median)
      })
    self.milliseconds = distribution
    skippedSteps = job.state.skippedSteps
  }
}
