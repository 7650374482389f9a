// The kernels of one instruction set, as one protocol; each level's module conforms with the same body.

/// Every kernel, for one instruction set.
///
/// Use the one in `kernels`, which suits this processor.
///
/// Rules that hold for all of them:
/// - Activations are NHWC, weights [kernelHeight][kernelWidth][in][out], all dense. Letters: P pixels (of all samples),
///   T taps, C input channels, K output channels, S shards.
/// - Pointers must be valid for the counts given and buffers must not overlap, except where a parameter is said to be
///   in place. Nothing is allocated and nothing is checked: the caller has validated.
/// - A kernel with `part, of parts` does the part-th share of the work; shares are disjoint in what they write. The
///   caller runs all parts, on any threads, and joins before it uses the result.
/// - Each element of a result has one order of additions that depends on shapes alone, and multiply-adds are fused. So
///   results have the same bits for every instruction set and every number of parts.
public protocol KernelSet: ConvolutionKernels, QuantizationKernels, NormalizationKernels, ElementwiseKernels,
  PoolingKernels, LossKernels, ReductionKernels, ConversionKernels, OptimizerKernels, SendableMetatype
{}
