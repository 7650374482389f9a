// The products of one convolution on buffers of noise, as the executor calls them.

import Kernels
import Training

/// One convolution's buffers and calls.
final class ConvolutionWork {
  /// Kinds of product.
  enum Kind: String, CaseIterable {
    case forward, inputGradient, weightGradient, int8Forward, int16InputGradient, int16WeightGradient

    /// For people.
    var label: String {
      switch self {
      case .forward: "forward"
      case .inputGradient: "input gradient"
      case .weightGradient: "weight gradient"
      case .int8Forward: "int8 forward"
      case .int16InputGradient: "int16 input gradient"
      case .int16WeightGradient: "int16 weight gradient"
      }
    }

    /// The peak that its speed is a share of.
    func limit(_ peak: Peak) -> Double {
      switch self {
      case .forward, .inputGradient, .weightGradient: peak.fp32
      case .int8Forward: peak.int8
      case .int16InputGradient, .int16WeightGradient: peak.int16
      }
    }
  }

  private let plan: ConvolutionPlan
  private let options: GemmBenchmark.Options
  private let pool: ThreadPool
  private let input: UnsafeMutablePointer<Float>
  private let output: UnsafeMutablePointer<Float>
  private let weights: UnsafeMutablePointer<Float>
  private let packed: UnsafeMutablePointer<Float>
  private let packedGradient: UnsafeMutablePointer<Float>
  private let gradient: UnsafeMutablePointer<Float>
  private let int8Input: UnsafeMutablePointer<Int8>
  private let int8Weights: UnsafeMutablePointer<Int8>
  private let int8Packed: UnsafeMutableRawPointer
  private let int16Gradient: UnsafeMutablePointer<Int16>
  private let int16Packed: UnsafeMutablePointer<Int16>
  private let magnitudes: UnsafeMutablePointer<Int32>
  /// For any product: by channel, by shard, by both.
  private let scales: UnsafeMutablePointer<Float>
  /// For one thread.
  private let scratchCount: Int
  private let scratch: UnsafeMutablePointer<Float>
  private let pieces: UnsafeMutablePointer<ShardPiece>
  private let gradients: UnsafeMutablePointer<UnsafeMutablePointer<Float>>

  init(_ geometry: ConvolutionGeometry, _ options: GemmBenchmark.Options, _ pool: ThreadPool) {
    plan = ConvolutionPlan(geometry)
    self.options = options
    self.pool = pool
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1) * 4, alignment: 64)
        .bindMemory(to: Float.self, capacity: count)
      // A short period of small integers: no value is a denormal, no sum overflows.
      for index in 0..<count { (buffer + index).initialize(to: Float(index % 13 - 6) / 8) }
      return buffer
    }
    func bytes(_ count: Int) -> UnsafeMutablePointer<Int8> {
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1), alignment: 64)
        .bindMemory(to: Int8.self, capacity: count)
      for index in 0..<count { (buffer + index).initialize(to: Int8(index % 251 - 125)) }
      return buffer
    }
    input = floats(options.batch * geometry.inputCount)
    output = floats(options.batch * geometry.outputCount)
    weights = floats(geometry.weightCount)
    packed = floats(plan.packedWeightCount)
    packedGradient = floats(plan.packedInputGradientWeightCount)
    gradient = floats(geometry.weightCount)
    int8Input = bytes(options.batch * geometry.inputCount)
    int8Weights = bytes(geometry.weightCount)
    int8Packed = .allocate(byteCount: plan.packedInt8ByteCount, alignment: 64)
    int16Gradient = .allocate(capacity: options.batch * geometry.outputCount)
    for index in 0..<options.batch * geometry.outputCount {
      (int16Gradient + index).initialize(to: Int16(index % 2001 - 1000))
    }
    int16Packed = .allocate(capacity: plan.packedInputGradientWeightCount)
    magnitudes = .allocate(capacity: geometry.inputChannels)
    scales = floats(options.virtualShards * geometry.outputChannels)
    let piece = ShardPiece(firstLocalShard: 0, shardCount: options.virtualShards)
    let samplesPerShard = options.batch / options.virtualShards
    scratchCount = max(
      plan.scratchCount, kernels.int8ScratchCount(plan),
      plan.weightGradientScratchCount(samplesPerShard: samplesPerShard, pieces: [piece]))
    scratch = floats(pool.threadCount * scratchCount)
    pieces = .allocate(capacity: 1)
    pieces.initialize(to: piece)
    gradients = .allocate(capacity: 1)
    gradients.initialize(to: gradient)
    kernels.packWeights(plan, weights: weights, into: packed, part: 0, of: 1)
    kernels.packInputGradientWeights(plan, weights: weights, into: packedGradient, part: 0, of: 1)
    kernels.packInt8Weights(plan, weights: int8Weights, into: int8Packed, part: 0, of: 1)
    kernels.packInputGradientWeightsInt16(
      plan, weights: int8Weights, into: int16Packed, magnitudes: magnitudes, part: 0, of: 1)
  }

  deinit {
    for buffer in [input, output, weights, packed, packedGradient, gradient, scales, scratch] { buffer.deallocate() }
    for buffer in [int8Input, int8Weights] { buffer.deallocate() }
    int8Packed.deallocate()
    for buffer in [int16Gradient, int16Packed] { buffer.deallocate() }
    magnitudes.deallocate()
    pieces.deallocate()
    gradients.deallocate()
  }

  /// Milliseconds of each call after an unmeasured one, kinds in turn.
  ///
  /// - Parameter isFirst: whether the layer's input is the image, of which no gradient is wanted.
  func measure(repetitions: Int, isFirst: Bool) -> [Kind: [Double]] {
    let kinds = Kind.allCases.filter { !isFirst || ($0 != .inputGradient && $0 != .int16InputGradient) }
    let work = kinds.map { (kind: $0, call: call($0)) }
    var milliseconds: [Kind: [Double]] = [:]
    for repetition in 0...repetitions {
      for (kind, call) in work {
        let start = ContinuousClock.now
        pool.run(parts: pool.threadCount, call)
        let elapsed = start.duration(to: .now)
        if repetition > 0 { milliseconds[kind, default: []].append(elapsed.milliseconds) }
      }
    }
    return milliseconds
  }

  private func call(_ kind: Kind) -> (TaskShare) -> Void {
    let samples = options.batch
    switch kind {
    case .forward:
      return { [self] share in
        kernels.convolveForward(
          plan, samples: samples, input: input, packed: packed, bias: nil, output: output,
          scratch: scratch + share.thread * scratchCount, part: share.part, of: share.parts)
      }
    case .inputGradient:
      return { [self] share in
        kernels.convolveInputGradient(
          plan, samples: samples, gradientOutput: output,
          packed: plan.sharesPackedWeights ? packed : packedGradient, gradientInput: input,
          accumulate: false, scratch: scratch + share.thread * scratchCount, part: share.part, of: share.parts)
      }
    case .weightGradient:
      return { [self] share in
        kernels.convolveWeightGradient(
          plan, samplesPerShard: samples / options.virtualShards,
          pieces: UnsafeBufferPointer(start: pieces, count: 1), input: input, gradientOutput: output,
          gradients: UnsafePointer(gradients), scratch: scratch + share.thread * scratchCount, part: share.part,
          of: share.parts)
      }
    case .int8Forward:
      return { [self] share in
        kernels.convolveInt8(
          plan, samples: samples, input: int8Input, packed: int8Packed, scales: scales, bias: nil, output: output,
          scratch: scratch + share.thread * scratchCount, part: share.part, of: share.parts)
      }
    case .int16InputGradient:
      return { [self] share in
        kernels.convolveInputGradientInt16(
          plan, samples: samples, samplesPerShard: samples / options.virtualShards, gradientOutput: int16Gradient,
          packed: int16Packed, scales: scales, gradientInput: input, accumulate: false, part: share.part,
          of: share.parts)
      }
    case .int16WeightGradient:
      return { [self] share in
        kernels.convolveWeightGradientInt16(
          plan, samplesPerShard: samples / options.virtualShards,
          pieces: UnsafeBufferPointer(start: pieces, count: 1), input: int8Input, gradientOutput: int16Gradient,
          scales: scales, gradients: UnsafePointer(gradients), part: share.part, of: share.parts)
      }
    }
  }
}
