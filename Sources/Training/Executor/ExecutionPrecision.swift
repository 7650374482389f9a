// In which numbers a TrainingExecutor computes.

/// How a training executor stores activations and multiplies; one per phase of a job.
public enum ExecutionPrecision: String, Sendable, Hashable, Codable {
  /// Everything in Float: the reference. Fake-quantize nodes, if the graph has any, pass values through.
  case fp32
  /// Activations, their gradients and the weights of products rounded to Float16; sums, BatchNorm statistics and the master
  /// weights in Float (design 4.3). Fake-quantize nodes pass values through.
  case fp16
  /// Fake-quantize nodes round to integers with the scales given; convolutions between integers are computed in INT8.
  case quantized = "qat"
  /// A float forward pass that only fills the observers' maxima; it keeps nothing for a backward pass.
  case calibration
}
