// Convolutions: forward in float and int8, input gradient, weight gradient.

/// Convolutions as indirect matrix products over a `ConvolutionPlan`.
///
/// `samples` is the number of samples in the buffers; letters as in `KernelSet`.
public protocol ConvolutionKernels {
  /// Packs weights for `convolveForward`: fills the last panel up. Where `plan.weightsArePacked`, a copy.
  ///
  /// - Parameters:
  ///   - weights: in panels, T * C rows.
  ///   - packed: `plan.packedWeightCount` floats, [K/16][T][C][16], zero beyond K.
  static func packWeights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// Packs weights for `convolveInputGradient`.
  ///
  /// - Parameters:
  ///   - weights: in panels, T * C rows.
  ///   - packed: `plan.packedInputGradientWeightCount` floats, [C/16][T][K][16], zero beyond C.
  static func packInputGradientWeights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// Forward convolution: output = sum over taps, then channels, both ascending, of input * weight, then + bias; 3x3 kernels
  /// with stride 1 and whole panels of channels by Winograd's F(2x2, 3x3) where the image divides well into tiles.
  ///
  /// - Parameters:
  ///   - input: [samples, inputHeight, inputWidth, C].
  ///   - packed: from `packWeights`.
  ///   - bias: [K] or nil.
  ///   - output: [samples, outputHeight, outputWidth, K].
  ///   - scratch: `plan.scratchCount` floats of this thread's own.
  static func convolveForward(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// Gradient with respect to the input: sum over the taps that reach a pixel, then output channels, both ascending; by
  /// Winograd's algorithm as in `convolveForward`.
  ///
  /// - Parameters:
  ///   - gradientOutput: [samples, outputHeight, outputWidth, K].
  ///   - packed: from `packInputGradientWeights`; from `packWeights` where `plan.sharesPackedWeights`.
  ///   - gradientInput: [samples, inputHeight, inputWidth, C].
  ///   - accumulate: adds the finished sum to what is there (existing + sum) instead of storing it.
  ///   - scratch: `plan.scratchCount` floats of this thread's own.
  static func convolveInputGradient(
    _ plan: ConvolutionPlan, samples: Int, gradientOutput: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    gradientInput: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// Gradient with respect to the weights, one per piece: each shard's sum over its pixels in ascending order, shards
  /// of a piece combined as a binary tree, node = left + right. A shard's sum is made by Winograd's F(3x3, 2x2) where
  /// `convolveForward` is by his algorithm and the shard has 16 tiles or more.
  ///
  /// - Parameters:
  ///   - samplesPerShard: samples of each shard; shard s holds samples [s * samplesPerShard, (s+1) * samplesPerShard).
  ///   - pieces: the shards to combine; shards in no piece are not read.
  ///   - input: [shards * samplesPerShard, inputHeight, inputWidth, C].
  ///   - gradientOutput: [shards * samplesPerShard, outputHeight, outputWidth, K].
  ///   - gradients: one pointer per piece, each to weights in panels, overwritten.
  ///   - scratch: `plan.weightGradientScratchCount` floats of this thread's own.
  static func convolveWeightGradient(
    _ plan: ConvolutionPlan, samplesPerShard: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    input: UnsafePointer<Float>, gradientOutput: UnsafePointer<Float>,
    gradients: UnsafePointer<UnsafeMutablePointer<Float>>, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// Packs int8 weights for `convolveInputGradientInt16`.
  ///
  /// - Parameters:
  ///   - weights: in panels, int8, K even.
  ///   - packed: `plan.packedInputGradientWeightCount` values, [C/16][T][K/2][16][2], zero beyond C; aligned to 4.
  ///   - magnitudes: [C], the sum of |weights[t, c, k]| over t and k: by how much a gradient of at most 1 can reach c.
  static func packInputGradientWeightsInt16(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Int8>, into packed: UnsafeMutablePointer<Int16>,
    magnitudes: UnsafeMutablePointer<Int32>, part: Int, of parts: Int)

  /// Gradient with respect to the input from int8 weights and int16 gradients with exact int32 sums: Float(sum) *
  /// scales[shard of the sample].
  ///
  /// - Parameters:
  ///   - samplesPerShard: samples of each shard.
  ///   - gradientOutput: [samples, outputHeight, outputWidth, K], K even; aligned to 4. At most (2^31 - 1) / magnitude in
  ///     absolute value, for the largest magnitude that packing returned, and at most 32,767.
  ///   - packed: from `packInputGradientWeightsInt16`.
  ///   - scales: [S].
  ///   - gradientInput: [samples, inputHeight, inputWidth, C].
  ///   - accumulate: adds the finished sum to what is there (existing + sum) instead of storing it.
  static func convolveInputGradientInt16(
    _ plan: ConvolutionPlan, samples: Int, samplesPerShard: Int, gradientOutput: UnsafePointer<Int16>,
    packed: UnsafePointer<Int16>, scales: UnsafePointer<Float>, gradientInput: UnsafeMutablePointer<Float>,
    accumulate: Bool, part: Int, of parts: Int)

  /// `convolveWeightGradient` of an int8 input and int16 gradients: exact int32 sums over blocks of 256 pixels of a shard
  /// (of the pixels that a tap reads, where `ConvolutionPlan` leaves out padding), each times scales[shard, k], added as floats in ascending order, fused.
  ///
  /// - Parameters:
  ///   - input: [shards * samplesPerShard, inputHeight, inputWidth, C].
  ///   - gradientOutput: [shards * samplesPerShard, outputHeight, outputWidth, K], -32,767...32,767.
  ///   - scales: [S, K], what a product is worth.
  static func convolveWeightGradientInt16(
    _ plan: ConvolutionPlan, samplesPerShard: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    input: UnsafePointer<Int8>, gradientOutput: UnsafePointer<Int16>, scales: UnsafePointer<Float>,
    gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int, of parts: Int)

  /// Packs int8 weights for `convolveInt8`, in the form that this instruction set likes.
  ///
  /// - Parameters:
  ///   - weights: in panels, int8; every value from -128 to 127 is allowed.
  ///   - packed: `plan.packedInt8ByteCount` bytes, aligned to 4; only for `convolveInt8` of the same instruction set.
  static func packInt8Weights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Int8>, into packed: UnsafeMutableRawPointer, part: Int,
    of parts: Int)

  /// Forward convolution of int8 by int8 with exact int32 sums: output = Float(sum) * scale, or fma(Float(sum), scale,
  /// bias).
  ///
  /// Zero points are 0 and padding contributes nothing. Sums must fit: T * C up to 65,000.
  /// - Parameters:
  ///   - input: [samples, inputHeight, inputWidth, C] int8, -128...127.
  ///   - packed: from `packInt8Weights`.
  ///   - scales: [K], input scale * weight scale of the channel.
  ///   - bias: [K] or nil, in real units.
  ///   - output: [samples, outputHeight, outputWidth, K] float.
  ///   - scratch: `int8ScratchCount` floats of this thread's own.
  static func convolveInt8(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Int8>, packed: UnsafeRawPointer,
    scales: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Floats of scratch memory that one thread needs for `convolveInt8` of this instruction set; may be 0.
  static func int8ScratchCount(_ plan: ConvolutionPlan) -> Int
}
