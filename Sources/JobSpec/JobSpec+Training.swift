// The `training` section.

extension JobSpec {
  /// Epochs, batch, precision, optimizer and schedule.
  public struct Training: Sendable, Hashable {
    /// Passes over the training split, float and quantized phases together.
    public var epochs = 10
    /// Samples per global batch.
    public var batchSize = 128
    /// Fixed slices of each batch, each with its own BatchNorm statistics: a power of two.
    public var virtualShards = 8
    /// Precision of the float phase.
    public var precision = Precision.fp16
    /// In which numbers gradients are summed over shards and travel between workers.
    public var gradients = Gradients.fp32
    /// Share of probability that label smoothing spreads over all classes.
    public var labelSmoothing = 0.0
    /// The optimizer.
    public var optimizer = Optimizer()
    /// The learning-rate schedule.
    public var schedule = Schedule()
    /// The exponential moving average of weights.
    public var ema = EMA()
    /// The dynamic loss scale of the FP16 phase.
    public var lossScale = LossScale()

    /// Makes the defaults.
    public init() {}

    /// Samples of one virtual shard.
    public var shardSize: Int { batchSize / virtualShards }

    /// Numbers in which gradients are summed over shards.
    public enum Gradients: String, Sendable, CaseIterable { case fp32, fp16 }

    /// Precision of the float phase.
    public enum Precision: String, Sendable, CaseIterable { case fp16, fp32 }

    /// The optimizer; weight decay skips biases and BatchNorm.
    public struct Optimizer: Sendable, Hashable {
      /// Update rule.
      public var method = Method.sgd
      /// Peak learning rate; the schedule multiplies it.
      public var learningRate = 0.05
      /// Momentum of SGD.
      public var momentum = 0.9
      /// Whether SGD uses Nesterov momentum.
      public var nesterov = true
      /// Weight decay: added to the gradient by SGD, decoupled in AdamW.
      public var weightDecay = 0.0005
      /// Decay of AdamW's first moment.
      public var beta1 = 0.9
      /// Decay of AdamW's second moment.
      public var beta2 = 0.999
      /// Added to AdamW's denominator.
      public var epsilon = 1e-8

      /// Makes the defaults.
      public init() {}

      /// Update rule.
      public enum Method: String, Sendable, CaseIterable { case sgd, adamw }
    }

    /// The learning-rate schedule, evaluated per step; shares are of `optimizer.learningRate` or of all steps.
    public struct Schedule: Sendable, Hashable {
      /// Shape of the schedule.
      public var method = Method.cosine
      /// Epochs of linear warm-up from 0 (cosine and constant).
      public var warmupEpochs = 0.0
      /// Learning rate after the last step, as a share of the peak (cosine and oneCycle).
      public var finalShare = 0.0
      /// Learning rate of the first step of oneCycle, as a share of the peak.
      public var initialShare = 0.04
      /// Share of all steps that oneCycle takes to reach the peak.
      public var risingShare = 0.3

      /// Makes the defaults.
      public init() {}

      /// Shape of the schedule.
      public enum Method: String, Sendable, CaseIterable { case cosine, oneCycle, constant }
    }

    /// The exponential moving average of weights.
    public struct EMA: Sendable, Hashable {
      /// Weight of the old average at each step; 0 is off.
      public var decay = 0.0

      /// Makes the defaults.
      public init() {}
    }

    /// The dynamic loss scale of the FP16 phase.
    public struct LossScale: Sendable, Hashable {
      /// First scale, a power of two.
      public var initial = 65_536.0
      /// Finite steps after which the scale doubles.
      public var growthInterval = 500

      /// Makes the defaults.
      public init() {}
    }
  }
}
