// Scratch of a step: partial sums, their total, maxima, and the observers' next states. Allocated once.

import Graph
import Quantization

/// What a step computes before it is committed.
final class StepBuffers {
  /// One sum vector per piece.
  let pieces: [UnsafeMutablePointer<Float>]
  /// The reduced sum vector, written over the first piece.
  let sum: FloatVector
  /// The reduced maxima.
  let maxima: FloatVector
  /// Observers after this step, should it be committed.
  private(set) var observers: [ObserverState]
  private let storage: [FloatVector]
  private let scales: FloatVector

  /// - Parameter makeVector: makes the sum vectors, which other processes may read.
  init(plan: JobPlan, pieceCount: Int, makeVector: (_ count: Int) -> FloatVector) {
    storage = (0..<pieceCount).map { _ in makeVector(plan.reduction.sumCount) }
    pieces = storage.map(\.pointer)
    // A member may hold no shard.
    sum = storage.first ?? makeVector(plan.reduction.sumCount)
    maxima = FloatVector(count: plan.reduction.maximumCount)
    observers = [ObserverState](repeating: .initial, count: plan.reduction.observerNames.count)
    scales = FloatVector(count: observers.count)
  }

  /// Starts a step from the observers of the last one.
  func takeObservers(of state: TrainingState) {
    for index in observers.indices { observers[index] = state.observers[index] }
  }

  /// One update of every observer from reduced maxima [observers][-minimum, maximum].
  func observe(_ maxima: UnsafePointer<Float>, plan: JobPlan) {
    let observer = plan.observer
    for index in observers.indices {
      observers[index] = observer.updated(
        observers[index], minimum: -maxima[2 * index], maximum: maxima[2 * index + 1])
    }
  }

  /// The scale of every observer's activation, valid until the next call.
  func activationScales(of plan: JobPlan) -> UnsafePointer<Float> {
    for index in observers.indices { scales.pointer[index] = observers[index].scale(for: plan.activationRange) }
    return UnsafePointer(scales.pointer)
  }
}

extension FloatVector {
  /// The elementwise maximum of equal blocks of `count` Floats, as gathered from the members; order-free.
  static func maxima(ofBlocks bytes: [UInt8], count: Int) -> FloatVector {
    let result = FloatVector(count: count, repeating: -.infinity)
    bytes.withUnsafeBytes { bytes in
      for index in 0..<bytes.count / MemoryLayout<Float>.size {
        let value = bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Float>.size, as: Float.self)
        result.pointer[index % count] = max(result.pointer[index % count], value)
      }
    }
    return result
  }
}
