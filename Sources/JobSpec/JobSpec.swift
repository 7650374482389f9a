// The validated values of a job specification.
//
// A value of `JobSpec` is what every other target reads; text becomes values in JobSpec+Parse.swift and values become
// text again in JobSpec+YAML.swift. The property initializers here own types and defaults; Schema+Table.swift owns the
// key names, units, ranges and documentation, and reads the defaults from `JobSpec.defaults`, so each is written once.

/// One training job: data, model, training, quantization, and how results are kept and compared.
public struct JobSpec: Sendable, Hashable {
  /// Format version of the specification; this code reads version 1.
  public var version = 1
  /// Name of the job: 1 to 63 of a-z, 0-9 and '-'.
  public var name = ""
  /// Seed of every random number of the job.
  public var seed: UInt64 = 1
  /// Where samples come from and how they are sampled, augmented and normalized.
  public var data = Data()
  /// The network.
  public var model = Model()
  /// Epochs, batch, precision, optimizer and schedule.
  public var training = Training()
  /// Fake-quantization: when it starts, what is observed and how.
  public var quantization = Quantization()
  /// How often a checkpoint is written and how many are kept.
  public var checkpoint = Checkpoint()
  /// How often and in what batches the test split is evaluated.
  public var evaluation = Evaluation()
  /// What the final table compares the quantized model with.
  public var comparison = Comparison()
  /// How many workers the job takes and how the coordinator waits for them.
  public var cluster = Cluster()

  /// Makes a specification of defaults; `name` is all that a job cannot do without.
  public init(name: String = "") {
    self.name = name
  }

  /// Every default, read by the schema.
  static let defaults = JobSpec()
}

extension JobSpec {
  /// How often a checkpoint is written and how many are kept.
  public struct Checkpoint: Sendable, Hashable {
    /// Epochs between checkpoints; 0 writes none at epoch ends but the last.
    public var everyEpochs = 1
    /// Global steps between checkpoints inside an epoch; 0 is off.
    public var everySteps = 0
    /// Complete checkpoints kept.
    public var keep = 2

    /// Makes the defaults.
    public init() {}
  }

  /// How often and in what batches the test split is evaluated.
  public struct Evaluation: Sendable, Hashable {
    /// Samples per evaluation batch; changes memory and speed, never results.
    public var batchSize = 250
    /// Epochs between evaluations; the last epoch is always evaluated.
    public var everyEpochs = 1

    /// Makes the defaults.
    public init() {}
  }

  /// What the final table compares the quantized model with.
  public struct Comparison: Sendable, Hashable {
    /// Whether the same job is also trained without quantization.
    public var floatBaseline = false
    /// Post-training calibration of the float model.
    public var calibration = Calibration()

    /// Makes the defaults.
    public init() {}
  }

  /// Post-training calibration: which images and which rule set the activation scales.
  public struct Calibration: Sendable, Hashable {
    /// Training images used for calibration.
    public var images = 512
    /// Whether calibration images follow the natural class mix or the same number per class.
    public var mix = Mix.natural
    /// Rule that picks the clipping value.
    public var method = Method.entropy
    /// Percentile of |x| kept by `method: percentile`.
    public var percentile = 99.99

    /// Makes the defaults.
    public init() {}

    /// Class mix of the calibration images.
    public enum Mix: String, Sendable, CaseIterable { case natural, balanced }
    /// Rule that picks the clipping value.
    public enum Method: String, Sendable, CaseIterable { case entropy, percentile, mse, max }
  }

  /// How many workers the job takes and how the coordinator waits for them.
  public struct Cluster: Sendable, Hashable {
    /// Jobs of a higher priority get their workers first; jobs of one priority share evenly.
    public var priority = 0
    /// Workers without which the job waits.
    public var minimumWorkers = 1
    /// Workers beyond which newcomers wait for other jobs.
    public var maximumWorkers = 16
    /// Milliseconds the coordinator gathers further workers before it starts a generation.
    public var joinWindowMilliseconds = 1_000
    /// Seconds without progress after which a living worker counts as hung (at least 3 median steps are always given).
    public var hangSeconds = 10

    /// Makes the defaults.
    public init() {}
  }
}
