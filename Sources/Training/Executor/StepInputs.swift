// What changes from step to step: stages read it when they run, so that they can be made once.

/// The variable inputs of a lowered training step.
///
/// Plain pointers and numbers, set by the executor on the calling thread before stages run.
final class StepInputs {
  /// Normalized samples [samples, H, W, C].
  var input: UnsafeMutablePointer<Float>
  /// Classes [samples].
  var labels: UnsafeMutablePointer<Int32>
  /// The flat parameter vector that was loaded last.
  var weights: UnsafePointer<Float>?
  /// Running statistics in ParameterLayout's buffer order while BatchNorm is frozen.
  var frozenStatistics: UnsafePointer<Float>?
  /// Share of the target spread over all classes.
  var labelSmoothing: Float = 0
  /// Factor of the loss gradient: loss scale / global batch.
  var gradientScale: Float = 1
  /// Where observed ranges go, [observers][-minimum, maximum].
  var maxima: UnsafeMutablePointer<Float>?
  /// Scale of each observer's activation.
  var activationScales: [Float]

  private let ownInput: UnsafeMutableBufferPointer<Float>
  private let ownLabels: UnsafeMutableBufferPointer<Int32>

  init(inputCount: Int, sampleCount: Int, observerCount: Int) {
    ownInput = .allocate(capacity: max(inputCount, 1))
    ownInput.initialize(repeating: 0)
    ownLabels = .allocate(capacity: max(sampleCount, 1))
    ownLabels.initialize(repeating: 0)
    input = ownInput.baseAddress!
    labels = ownLabels.baseAddress!
    activationScales = [Float](repeating: 1, count: observerCount)
  }

  deinit {
    ownInput.deallocate()
    ownLabels.deallocate()
  }
}

/// Pointers to one entry of the sum vector, one per piece: the form in which kernels take their outputs.
final class PieceTable {
  /// Index of the entry's first Float in the sum vector.
  let offset: Int
  private let count: Int
  private let table: UnsafeMutablePointer<UnsafeMutablePointer<Float>>

  init(offset: Int, pieceCount: Int) {
    self.offset = offset
    count = pieceCount
    table = .allocate(capacity: pieceCount)
  }

  deinit { table.deallocate() }

  /// One pointer per piece; valid after `bind`.
  var pointers: UnsafePointer<UnsafeMutablePointer<Float>> { UnsafePointer(table) }

  /// Points into this step's sum vectors.
  func bind(_ pieces: [UnsafeMutablePointer<Float>]) {
    for piece in 0..<count { (table + piece).initialize(to: pieces[piece] + offset) }
  }
}
