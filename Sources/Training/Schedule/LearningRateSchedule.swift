// Learning-rate schedules: pure functions of the global step, so resuming needs only the step.
//
// Values are Double and come from additions, multiplications and the own cosine below: the same bits on every machine,
// where libm's cosine would differ.

public import JobSpec

/// The learning rate of every step of a job.
public struct LearningRateSchedule: Sendable, Hashable {
  private let method: JobSpec.Training.Schedule.Method
  private let peak: Double
  private let initialShare: Double
  private let finalShare: Double
  private let totalSteps: Double
  private let risingSteps: Double

  /// Makes the schedule of a job.
  ///
  /// - Parameters:
  ///   - schedule: shape and shares.
  ///   - peak: the highest learning rate.
  ///   - stepsPerEpoch: global steps of one epoch.
  ///   - totalSteps: global steps of the job.
  public init(_ schedule: JobSpec.Training.Schedule, peak: Double, stepsPerEpoch: Int, totalSteps: Int) {
    method = schedule.method
    self.peak = peak
    self.totalSteps = Double(totalSteps)
    finalShare = schedule.method == .constant ? 1 : schedule.finalShare
    initialShare = schedule.method == .oneCycle ? schedule.initialShare : 0
    risingSteps =
      schedule.method == .oneCycle
      ? (schedule.risingShare * Double(totalSteps)).rounded()
      : (schedule.warmupEpochs * Double(stepsPerEpoch)).rounded()
  }

  /// The learning rate of a step, counted from 0.
  ///
  /// Rising part of n steps, step i: cosine and constant warm up as peak (i + 1) / n, so no step is wasted at rate 0; oneCycle
  /// goes from `initialShare` to 1 along half a cosine. The falling part goes from 1 to `finalShare` along half a cosine
  /// (constant stays at 1) and reaches it with the last step.
  public func learningRate(atStep step: Int) -> Double {
    let step = Double(step)
    if step < risingSteps {
      if method == .oneCycle { return peak * Self.halfCosine(from: initialShare, to: 1, at: step / risingSteps) }
      return peak * (step + 1) / risingSteps
    }
    let fallingSteps = max(1, totalSteps - 1 - risingSteps)
    return peak * Self.halfCosine(from: 1, to: finalShare, at: min(1, (step - risingSteps) / fallingSteps))
  }

  /// Goes from `start` (t = 0) to `end` (t = 1) along half a cosine.
  private static func halfCosine(from start: Double, to end: Double, at t: Double) -> Double {
    end + (start - end) * 0.5 * (1 + cosine(ofHalfTurns: t))
  }

  /// cos(pi t) for 0 <= t <= 1; absolute error below 1e-15 by the remainder of the Taylor series at pi / 4.
  static func cosine(ofHalfTurns t: Double) -> Double {
    if t > 0.5 { return -cosine(ofHalfTurns: 1 - t) }
    // cos(x) = 2 cos(x / 2)^2 - 1 halves the argument to at most pi / 4.
    let square = (Double.pi * t / 2) * (Double.pi * t / 2)
    var term = 1.0
    var sum = 1.0
    for k in stride(from: 2.0, through: 16.0, by: 2.0) {
      term *= -square / (k * (k - 1))
      sum += term
    }
    return 2 * sum * sum - 1
  }
}
