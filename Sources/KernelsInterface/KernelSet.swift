// The kernels of one instruction set, as one protocol; each level's module conforms with the same body.

/// Every kernel, for one instruction set.
///
/// Use the one in `kernels`, which suits this processor.
///
/// Rules that hold for all of them:
/// - Letters: P pixels (of all samples), T taps (kernelHeight x kernelWidth), C input channels, K output channels, S shards.
/// - Activations are NHWC. Weights and their gradients are in panels of 16 output channels: [K/16][T, C][16], where the last
///   panel has K % 16 lanes if K is no multiple of 16. Both are dense.
/// - Pointers must be valid for the counts given and buffers must not overlap, except where a parameter is said to be
///   in place. Nothing is allocated and nothing is checked: the caller has validated.
/// - A kernel with `part, of parts` does the part-th share of the work; shares are disjoint in what they write. The
///   caller runs all parts, on any threads, and joins before it uses the result.
/// - Each element of a result has one order of additions that depends on shapes alone, and multiply-adds are fused. So
///   results have the same bits for every instruction set and every number of parts.
public protocol KernelSet: ConvolutionKernels, QuantizationKernels, NormalizationKernels, ElementwiseKernels,
  PoolingKernels, LossKernels, ReductionKernels, ConversionKernels, OptimizerKernels, SendableMetatype
{}
