// The table of keys, in the order of the resolved text and of the reference page.

extension Schema {
  static let keys: [SchemaKey] = generalKeys + dataKeys + modelKeys + trainingKeys + quantizationKeys + resultKeys

  private static let generalKeys: [SchemaKey] = [
    .integer("version", \.version, 1...Int.max, "Format version of the job specification; this release reads 1.")
      .required(),
    .text("name", \.name, .jobName, "Name of the job, used in tables and directories.").required(),
    .seed("seed", \.seed, "Seed of every random number of the job: starting weights, sample order, augmentation."),
  ]

  private static let dataKeys: [SchemaKey] = [
    .choice("data.source", \.data.source, "Where samples come from; the section of the same name tells more.")
      .required(),
    .integer(
      "data.strip.trainCount", \.data.strip.trainCount, 5...10_000_000, unit: "patches",
      "Training patches of the synthetic steel strip."
    ).only("data.source", "strip"),
    .integer(
      "data.strip.testCount", \.data.strip.testCount, 5...10_000_000, unit: "patches",
      "Test patches of the synthetic steel strip."
    ).only("data.source", "strip"),
    .integer(
      "data.strip.size", \.data.strip.size, 32...256, unit: "pixels", "Height and width of a patch; a multiple of 8."
    ).only("data.source", "strip"),
    .seed(
      "data.strip.seed", \.data.strip.seed,
      "Seed of the generator, apart from the job's, so that jobs with other seeds share one set."
    ).only("data.source", "strip"),
    mix("background", \.data.strip.mix.background, "Relative share of patches without a defect."),
    mix("scratch", \.data.strip.mix.scratch, "Relative share of patches with a scratch."),
    mix("crack", \.data.strip.mix.crack, "Relative share of patches with a crack."),
    mix("particle", \.data.strip.mix.particle, "Relative share of patches with an embedded bright particle."),
    mix("pit", \.data.strip.mix.pit, "Relative share of patches with a cluster of pits."),
    .choice(
      "data.strip.highlights", \.data.strip.highlights,
      "Brightness of specular highlights, which appear in every class; bright ones protect particles from clipping."
    ).only("data.source", "strip"),
    .text(
      "data.idx.directory", \.data.idx.directory, .path,
      "Directory of the four IDX files (MNIST's names, plain or .gz); relative to the folder of the job file."
    ).only("data.source", "idx").requiredWith("data.source", "idx"),
    .texts(
      "data.idx.classNames", \.data.idx.classNames,
      "Class names in label order; without them, classes are named by their numbers."
    ).only("data.source", "idx"),
    .text(
      "data.store.directory", \.data.store.directory, .path,
      "Directory of a store made earlier; relative to the folder of the job file."
    ).only("data.source", "store").requiredWith("data.source", "store"),
    .texts(
      "data.rareClasses", \.data.rareClasses,
      "Classes whose mean AP is reported apart, because quantization hurts rare classes first."),
    .numbers(
      "data.normalization.mean", \.data.normalization.mean, positive: false, unit: "pixel units",
      "Mean per channel, or one for all; input = (pixel - mean) / deviation. The default fits the strip's background."
    ).requiredWith("data.source", "idx", "store"),
    .numbers(
      "data.normalization.deviation", \.data.normalization.deviation, positive: true, unit: "pixel units",
      "Standard deviation per channel, or one for all. The default fits the strip's background."
    ).requiredWith("data.source", "idx", "store"),
    .boolean(
      "data.augmentation.flipHorizontal", \.data.augmentation.flipHorizontal,
      "Mirrors training images left to right with probability 1/2."),
    .boolean(
      "data.augmentation.flipVertical", \.data.augmentation.flipVertical,
      "Mirrors training images top to bottom with probability 1/2."),
    .integer(
      "data.augmentation.shift", \.data.augmentation.shift, 0...64, unit: "pixels",
      "Largest random shift along each axis (a random crop of the padded image); the border is filled by reflection."),
    .choice(
      "data.sampling.method", \.data.sampling.method,
      "natural: every sample once per epoch. balanced: classes by shares, rare samples repeated evenly."),
    .shares(
      "data.sampling.shares", \.data.sampling.shares,
      "Share of each class in the epoch, as class: share; classes not named share the rest equally."
    ).only("data.sampling.method", "balanced"),
  ]

  private static func mix(
    _ name: String, _ property: any WritableKeyPath<JobSpec, Double> & Sendable, _ summary: String
  ) -> SchemaKey {
    .number("data.strip.mix.\(name)", property, from: 0, to: 1e6, summary).only("data.source", "strip")
  }

  private static let modelKeys: [SchemaKey] = [
    .choice("model.architecture", \.model.architecture, "Residual network: one or two basic blocks per stage.")
      .required(),
    .number(
      "model.width", \.model.width, from: 0.03125, to: 4,
      "Multiplier of the stage widths 64, 128, 256, 512; the results must be multiples of 8."),
    .choice(
      "model.stem", \.model.stem,
      "imagenet: 7x7 stride 2 and 3x3 max pool stride 2. small: one 3x3 convolution, no pool, for small images."),
    .integer("model.stemStride", \.model.stemStride, 1...2, "Stride of the small stem's convolution.")
      .only("model.stem", "small"),
    .initialization(
      "model.initialize", \.model.initialize,
      "random, or a safetensors file with torchvision's names; relative to the folder of the job file."),
  ]

  private static let trainingKeys: [SchemaKey] = [
    .integer(
      "training.epochs", \.training.epochs, 1...100_000, unit: "epochs",
      "Passes over the training split, float and quantized phases together."
    ).required(),
    .integer(
      "training.batchSize", \.training.batchSize, 1...65_536, unit: "samples",
      "Samples per global batch; a multiple of virtualShards."),
    .integer(
      "training.virtualShards", \.training.virtualShards, 1...64,
      "Fixed slices of each batch with their own BatchNorm statistics: a power of two, and the most useful workers."),
    .choice(
      "training.gradients", \.training.gradients,
      "fp16 halves what workers send each other, for links of 1 Gbit/s; each sum over shards is rounded, so results differ a little from fp32 but not with the cluster."
    ),
    .choice("training.precision", \.training.precision, "Storage of activations and gradients in the float phase."),
    .number(
      "training.labelSmoothing", \.training.labelSmoothing, from: 0, to: 1, excludesHighest: true,
      "Share of the target probability spread over all classes."),
    .choice(
      "training.optimizer.method", \.training.optimizer.method,
      "sgd: momentum, decay added to the gradient. adamw: Adam with decoupled decay."),
    .number(
      "training.optimizer.learningRate", \.training.optimizer.learningRate, from: 0, to: 100, excludesLowest: true,
      "Peak learning rate; the schedule multiplies it."
    ).required(),
    .number(
      "training.optimizer.momentum", \.training.optimizer.momentum, from: 0, to: 1, excludesHighest: true,
      "Momentum of SGD."
    ).only("training.optimizer.method", "sgd"),
    .boolean("training.optimizer.nesterov", \.training.optimizer.nesterov, "Whether SGD uses Nesterov momentum.")
      .only("training.optimizer.method", "sgd"),
    .number(
      "training.optimizer.weightDecay", \.training.optimizer.weightDecay, from: 0, to: 10,
      "Weight decay; never applied to biases and BatchNorm."),
    .number(
      "training.optimizer.beta1", \.training.optimizer.beta1, from: 0, to: 1, excludesHighest: true,
      "Decay of AdamW's mean of gradients."
    ).only("training.optimizer.method", "adamw"),
    .number(
      "training.optimizer.beta2", \.training.optimizer.beta2, from: 0, to: 1, excludesHighest: true,
      "Decay of AdamW's mean of squared gradients."
    ).only("training.optimizer.method", "adamw"),
    .number(
      "training.optimizer.epsilon", \.training.optimizer.epsilon, from: 0, to: 1, excludesLowest: true,
      "Added to AdamW's denominator."
    ).only("training.optimizer.method", "adamw"),
    .choice("training.schedule.method", \.training.schedule.method, "Shape of the learning rate over all steps."),
    .number(
      "training.schedule.warmupEpochs", \.training.schedule.warmupEpochs, from: 0, to: 100_000, unit: "epochs",
      "Linear warm-up from 0 to the peak; may be a fraction."
    ).only("training.schedule.method", "cosine", "constant"),
    .number(
      "training.schedule.initialShare", \.training.schedule.initialShare, from: 0, to: 1,
      "Learning rate of the first step, as a share of the peak."
    ).only("training.schedule.method", "oneCycle"),
    .number(
      "training.schedule.risingShare", \.training.schedule.risingShare, from: 0, to: 1,
      "Share of all steps taken to reach the peak."
    ).only("training.schedule.method", "oneCycle"),
    .number(
      "training.schedule.finalShare", \.training.schedule.finalShare, from: 0, to: 1,
      "Learning rate after the last step, as a share of the peak."
    ).only("training.schedule.method", "cosine", "oneCycle"),
    .number(
      "training.ema.decay", \.training.ema.decay, from: 0, to: 1, excludesHighest: true,
      "Weight of the old value in the moving average of weights, per step; 0 is off."),
    .number(
      "training.lossScale.initial", \.training.lossScale.initial, from: 1, to: 16_777_216,
      "First loss scale of the FP16 phase: a power of two."),
    .integer(
      "training.lossScale.growthInterval", \.training.lossScale.growthInterval, 1...1_000_000, unit: "steps",
      "Steps without overflow after which the loss scale doubles."),
  ]

  private static let quantizationKeys: [SchemaKey] = [
    .boolean("quantization.enabled", \.quantization.enabled, "Whether the job has a quantized phase."),
    .integer(
      "quantization.startEpoch", \.quantization.startEpoch, 1...100_000, unit: "epoch, counted from 1",
      "First epoch with fake-quantization."),
    .integer(
      "quantization.calibrationBatches", \.quantization.calibrationBatches, 1...10_000, unit: "batches",
      "Training batches that set the first scales on entering the quantized phase."),
    .integer("quantization.weights.bits", \.quantization.weights.bits, 2...8, unit: "bits", "Bits per weight.")
      .hint("use 8 for TensorRT INT8"),
    .choice(
      "quantization.weights.granularity", \.quantization.weights.granularity,
      "One scale per output channel, or one per tensor."),
    .boolean(
      "quantization.weights.narrowRange", \.quantization.weights.narrowRange,
      "Whether 8-bit weights use -127...127 (TensorRT's) rather than -128...127."),
    .integer(
      "quantization.activations.bits", \.quantization.activations.bits, 2...8, unit: "bits", "Bits per activation."
    ).hint("use 8 for TensorRT INT8"),
    .choice(
      "quantization.activations.observer", \.quantization.activations.observer,
      "How the range is followed: moving average of batch ranges, or the extremes of all batches."),
    .number(
      "quantization.activations.momentum", \.quantization.activations.momentum, from: 0, to: 1, excludesLowest: true,
      "Weight of the newest batch in the moving average."
    ).only("quantization.activations.observer", "movingAverage"),
    .integer(
      "quantization.freezeObserversEpoch", \.quantization.freezeObserversEpoch, 0...100_000,
      unit: "epoch, counted from 1", "First epoch with frozen observers; 0 is never."),
    .integer(
      "quantization.freezeBatchNormEpoch", \.quantization.freezeBatchNormEpoch, 0...100_000,
      unit: "epoch, counted from 1", "First epoch with frozen BatchNorm statistics; 0 is never."),
    .boolean(
      "quantization.quantizeHead", \.quantization.quantizeHead, "Whether the last linear layer is quantized too."),
  ]

  private static let resultKeys: [SchemaKey] = [
    .integer(
      "checkpoint.everyEpochs", \.checkpoint.everyEpochs, 0...100_000, unit: "epochs",
      "Epochs between checkpoints; 0 leaves only everySteps and the end of the job."),
    .integer(
      "checkpoint.everySteps", \.checkpoint.everySteps, 0...1_000_000_000, unit: "steps",
      "Global steps between checkpoints inside an epoch; 0 is off."),
    .integer("checkpoint.keep", \.checkpoint.keep, 2...1_000, unit: "checkpoints", "Complete checkpoints kept."),
    .integer(
      "evaluation.batchSize", \.evaluation.batchSize, 1...65_536, unit: "samples",
      "Samples per evaluation batch; changes memory and speed, never results."),
    .integer(
      "evaluation.everyEpochs", \.evaluation.everyEpochs, 1...100_000, unit: "epochs",
      "Epochs between evaluations; the last epoch is always evaluated."),
    .boolean(
      "comparison.floatBaseline", \.comparison.floatBaseline,
      "Whether the job is also trained without quantization, for the final table."),
    .integer(
      "comparison.calibration.images", \.comparison.calibration.images, 1...1_000_000, unit: "images",
      "Training images that calibrate the post-training quantization of the final table."),
    .choice(
      "comparison.calibration.mix", \.comparison.calibration.mix,
      "Calibration images in the natural class mix, or the same number per class."),
    .choice(
      "comparison.calibration.method", \.comparison.calibration.method, "Rule that picks the clipping value."),
    .number(
      "comparison.calibration.percentile", \.comparison.calibration.percentile, from: 50, to: 100, unit: "percent",
      "Share of |x| that is not clipped."
    ).only("comparison.calibration.method", "percentile"),
    .integer(
      "cluster.priority", \.cluster.priority, -100...100,
      "Jobs of a higher priority get their workers first, down to the minimum of the others; equals share evenly."),
    .integer(
      "cluster.minimumWorkers", \.cluster.minimumWorkers, 1...64, unit: "workers",
      "Workers without which the job waits."),
    .integer(
      "cluster.maximumWorkers", \.cluster.maximumWorkers, 1...64, unit: "workers",
      "Workers beyond which newcomers are left to other jobs."),
    .integer(
      "cluster.joinWindowMilliseconds", \.cluster.joinWindowMilliseconds, 0...600_000, unit: "milliseconds",
      "Time in which further workers are gathered before a generation starts."),
    .integer(
      "cluster.hangSeconds", \.cluster.hangSeconds, 1...86_400, unit: "seconds",
      "Time without progress after which a living worker counts as hung; 3 median steps are always given."),
  ]
}
