// The job of the process tests: small enough for seconds, long enough to be killed in the middle of both phases.

/// A strip job whose every result must be the same, whatever happens to its processes.
enum TinyJob {
  static let epochs = 6
  /// The first quantized epoch.
  static let startEpoch = 4
  static let stepsPerEpoch: UInt64 = 32

  /// The result that every test must reach, computed once: one worker, one thread, undisturbed.
  static let reference = Result { try undisturbed(spec()) }

  /// What a job comes to on one worker.
  static func undisturbed(_ spec: String) throws -> String {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    return try cluster.result(try cluster.submit(spec))
  }

  static func spec(
    name: String = "tiny", epochs: Int = epochs, startEpoch: Int = startEpoch, trainCount: Int = 1_024,
    testCount: Int = 128,
    everySteps: Int = 0, minimumWorkers: Int = 1, priority: Int = 0,
    gradients: String = "fp32"
  ) -> String {
    """
    version: 1
    name: \(name)
    seed: 7
    data:
      source: strip
      strip: {trainCount: \(trainCount), testCount: \(testCount), size: 32}
      rareClasses: [crack, particle, pit]
      augmentation: {flipHorizontal: true, shift: 2}
      sampling: {method: balanced}
    model: {architecture: resnet10, width: 0.125, stem: small, stemStride: 2}
    training:
      epochs: \(epochs)
      batchSize: 32
      gradients: \(gradients)
      optimizer: {method: sgd, learningRate: 0.05}
      schedule: {method: cosine, warmupEpochs: 1}
      ema: {decay: 0.99}
    quantization: {startEpoch: \(startEpoch), calibrationBatches: 2}
    checkpoint: {everyEpochs: 1, everySteps: \(everySteps), keep: 3}
    evaluation: {batchSize: 64, everyEpochs: 2}
    cluster: {joinWindowMilliseconds: 200, minimumWorkers: \(minimumWorkers), priority: \(priority)}
    """
  }

  /// Steps at which tests strike: in the middle of an epoch, in the float phase and in the quantized phase.
  enum Phase: String, CaseIterable, Sendable {
    case float, quantized
    var step: UInt64 { (self == .float ? 1 : 4) * TinyJob.stepsPerEpoch + 10 }
  }
}
