// What `temper bench step` reports; the names of the stored properties are those of its JSON object.

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
      /// Bytes of activations, their gradients and scratch that a member's step needs at its peak; not the batch, weights, sums.
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
    /// Threads of each member.
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
  init(_ options: StepBenchmark.Options, _ measurements: [StepMeasurement]) {
    let phases = zip(options.precisions, measurements).map { Phase($0, $1, batch: options.batch) }
    benchmark = "step"
    model = "resnet18"
    width = 1
    stem = "imagenet"
    size = options.size
    channels = BenchmarkJob.channels
    classes = BenchmarkJob.classCount
    batch = options.batch
    virtualShards = options.virtualShards
    workers = options.workers
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
  init(_ precision: StepBenchmark.Precision, _ measurement: StepMeasurement, batch: Int) {
    let distribution = Distribution(measurement.milliseconds)
    let seconds = distribution.median / 1e3
    self.precision = precision
    medianMilliseconds = distribution.median
    imagesPerSecond = Double(batch) / seconds
    gigaflopsPerSecond = measurement.operations / seconds / 1e9
    activationBytes = measurement.activationBytes
    savedActivationBytes = measurement.savedActivationBytes
    parts = measurement.shares.mapValues { $0 * distribution.median }
    milliseconds = distribution
    skippedSteps = measurement.skippedSteps
  }
}
