// From a fused graph to the stages of a training step: loading weights, forward, backward.
//
// Values and where they live, by precision:
//   fp32       one Float tensor, kept until the backward pass has used it.
//   fp16       a Float tensor rounded to half while the forward pass needs it, a Float16 tensor until the backward pass widens
//              it again. Only values that the backward pass reads are kept.
//   quantized  fake-quantized values are int8 and a mask of one bit per element, which serves the ReLU in front as well; other
//              values are Float until the forward pass has used them, and kept as Float16 (saturating) for the backward pass:
//              BatchNorm's input, whose rounding reaches nothing but the gradient's correction terms.
// Of a ReLU's result that the backward pass reads for its own gradient only, fp16 and quantized keep one bit per element.
// Gradients are Float tensors (rounded to half in fp16) that live from their first contribution to their last use. A
// contribution that nobody else needs is handed over, not copied: the gradient of a residual add becomes that of its identity.

import Graph
import Kernels

/// What lowering makes: stages by purpose, and the handles the executor needs.
struct LoweredTraining {
  let builder: ProgramBuilder
  let step: StepInputs
  let loadStages: Range<Int>
  let forwardStages: Range<Int>
  let backwardStages: Range<Int>
  /// For each bucket, the backward stage before which its elements are final; ascending.
  let completionStages: [Int]
  let pieceTables: [PieceTable]
  let logits: Tensor
  let classCount: Int
}

/// The state of lowering one graph.
struct TrainingLowering {
  /// One activation: the result of a fused node.
  final class Value {
    let node: Node
    /// Elements of all samples.
    let count: Int
    let requiresGradient: Bool
    /// Whether the backward pass reads it.
    let isKept: Bool
    /// Whether the backward pass reads where it is above zero, and nothing else of it.
    let keepsSigns: Bool
    /// Elements of one shard.
    let countPerShard: Int
    /// Its numbers during the forward pass.
    var float: Tensor?
    /// What is kept in fp16, and of values that are not fake-quantized in the quantized phase.
    var half: Tensor?
    /// What is kept of a fake-quantized value.
    var int8: Tensor?
    /// Where the gradient of a fake-quantized value passes, or, if `keepsSigns`, where a value is above zero; the mask of every
    /// shard starts a new word.
    var mask: Tensor?
    /// What is kept of a max pooling.
    var argmax: Tensor?
    /// Index of the observer whose scale int8 has.
    var observer: Int?
    /// Its numbers during the backward pass, once widened.
    var backwardFloat: Tensor?
    var gradient: Tensor?
    /// Whether every element of the gradient is a half already.
    var gradientIsRounded = false

    /// Words of one shard's mask.
    var maskWordsPerShard: Int { (countPerShard + 15) / 16 }

    init(node: Node, assignment: ShardAssignment, requiresGradient: Bool, isKept: Bool, keepsSigns: Bool) {
      self.node = node
      count = assignment.sampleCount * node.shape.elementCount
      countPerShard = assignment.samplesPerShard * node.shape.elementCount
      self.requiresGradient = requiresGradient
      self.isKept = isKept
      self.keepsSigns = keepsSigns
    }
  }

  let graph: Graph
  let layout: ParameterLayout
  let reduction: ReductionPlan
  let assignment: ShardAssignment
  let precision: ExecutionPrecision
  let fused: [FusedNode]
  let consumers: [[NodeID]]
  let step: StepInputs
  /// For statistics and the loss, which are always summed as floats.
  let localPieces: LocalPieces
  let gradientPieces: LocalPieces
  var builder: ProgramBuilder
  var values: [NodeID: Value] = [:]
  var convolutions: [NodeID: ConvolutionLayer] = [:]
  var normalizations: [NodeID: NormalizationLayer] = [:]
  var pieceTables: [PieceTable] = []
  /// Ranges that each observer saw, [shards][parts of a shard][2], merged at the end of the forward pass.
  var observedRanges: [(observer: Int, ranges: Tensor)] = []

  var samples: Int { assignment.sampleCount }
  var shardCount: Int { assignment.shards.count }

  init(
    graph: Graph, layout: ParameterLayout, reduction: ReductionPlan, assignment: ShardAssignment,
    precision: ExecutionPrecision, threadCount: Int, sharing: ProgramSharing? = nil
  ) {
    self.graph = graph
    self.layout = layout
    self.reduction = reduction
    self.assignment = assignment
    self.precision = precision
    builder = ProgramBuilder(shardCount: assignment.shards.count, threadCount: threadCount, sharing: sharing)
    fused = FusedNode.fuse(graph)
    consumers = graph.consumers()
    step = StepInputs(
      inputCount: assignment.sampleCount * graph[graph.input].shape.elementCount, sampleCount: assignment.sampleCount,
      observerCount: reduction.observerNames.count)
    localPieces = LocalPieces(assignment.localPieces())
    gradientPieces = LocalPieces(assignment.localPieces(halfScale: assignment.gradientHalfScale(precision)))
  }

  /// Emits all stages.
  mutating func lower() throws -> LoweredTraining {
    guard let output = graph.outputs.first(where: { $0.name == "logits" }), graph[output.node].shape.pixelCount == 1
    else {
      throw TrainingError(
        .unsupported, "the graph has outputs \(graph.outputs.map(\.name)); training needs \"logits\" of one pixel")
    }
    let classCount = graph[output.node].shape.channels
    try declareValues()
    for node in fused { try declareParameters(of: node) }

    emitLoading()
    builder.flush()
    let loadEnd = builder.stages.count
    builder.part = .quantize
    emitProductScales()
    for node in fused { emitForward(node) }
    let logits = try logitsTensor(values[output.node])
    builder.part = .other
    if precision != .calibration { emitLoss(logits: logits, classes: classCount) }
    builder.part = .quantize
    emitObservedRanges()
    builder.part = .batchNorm
    if precision != .calibration { emitStatistics() }
    builder.flush()
    let forwardEnd = builder.stages.count
    builder.part = .other
    if precision != .calibration {
      emitLossGradient(of: values[output.node]!, logits: logits, classes: classCount)
      for node in fused.reversed() { emitBackward(node) }
      builder.flush()
      try checkGradients()
    }
    return LoweredTraining(
      builder: builder, step: step, loadStages: 0..<loadEnd, forwardStages: loadEnd..<forwardEnd,
      backwardStages: forwardEnd..<builder.stages.count, completionStages: completionStages(after: forwardEnd),
      pieceTables: pieceTables, logits: logits, classCount: classCount)
  }

  /// Decides for every value whether it needs a gradient and whether the backward pass reads it.
  private mutating func declareValues() throws {
    var kept: Set<NodeID> = []
    var signs: Set<NodeID> = []
    for node in fused where precision != .calibration {
      switch node.kind {
      case .convolution, .linear: kept.insert(node.sources[0])
      case .normalization(_, _, let relu):
        kept.insert(node.sources[0])
        if relu, !isMaskedByReader(node.output.id) { signs.insert(node.output.id) }
      case .relu, .add(relu: true):
        if !isMaskedByReader(node.output.id) { signs.insert(node.output.id) }
      default: break
      }
    }
    // A float is there as it is; of halves, one bit of sixteen is enough.
    if precision == .fp32 { kept.formUnion(signs) }
    let passesThrough = precision != .quantized
    // A fake-quantize node that passes values through is another name of its source, also for what is kept.
    if passesThrough {
      for node in fused.reversed() {
        if case .fakeQuantize = node.kind, kept.contains(node.output.id) { kept.insert(node.sources[0]) }
      }
    }
    // Of this graph: the layout's parameters name nodes of the float graph.
    let trained = Set(graph.parameters.map(\.node))
    for node in fused {
      if case .fakeQuantize = node.kind, passesThrough {
        values[node.output.id] = values[node.sources[0]]
        continue
      }
      let requiresGradient =
        trained.contains(node.node.id) || node.inputs.contains { values[$0]!.requiresGradient }
      values[node.output.id] = Value(
        node: node.output, assignment: assignment, requiresGradient: requiresGradient,
        isKept: kept.contains(node.output.id),
        keepsSigns: signs.contains(node.output.id) && !kept.contains(node.output.id))
    }
  }

  /// Whether the mask of the fake-quantize node behind a ReLU holds the ReLU's mask too.
  ///
  /// Then the ReLU's result need not be kept: int8 and one bit per element are all that the backward pass reads.
  func isMaskedByReader(_ relu: NodeID) -> Bool {
    guard precision == .quantized, consumers[relu.index].count == 1, !graph.outputNodes.contains(relu) else {
      return false
    }
    if case .fakeQuantize = graph[consumers[relu.index][0]].operation { return true }
    return false
  }

  private func logitsTensor(_ value: Value?) throws -> Tensor {
    guard let float = value?.float else {
      throw TrainingError(.unsupported, "the graph's logits are not the result of an operation on floats")
    }
    return float
  }

  private func checkGradients() throws {
    for entry in layout.parameters where !builder.written.contains(where: { $0.range == entry.range }) {
      throw TrainingError(
        .unsupported, "the loss does not reach this parameter, so it has no gradient", location: entry.parameter.name)
    }
  }

  /// A bucket is complete after the last stage that writes into it, and not before the buckets ahead of it.
  private func completionStages(after forwardEnd: Int) -> [Int] {
    var latest = forwardEnd
    return reduction.buckets.map { bucket in
      for entry in builder.written where entry.range.overlaps(bucket) { latest = max(latest, entry.stage + 1) }
      return latest
    }
  }

  /// A table for an entry of the sum vector.
  mutating func pieceTable(offset: Int) -> PieceTable {
    let table = PieceTable(offset: offset, pieceCount: assignment.pieces.count)
    pieceTables.append(table)
    return table
  }

  /// The place of one of a node's parameters.
  func parameter(_ node: Node, _ suffix: String) -> ParameterLayout.ParameterEntry {
    guard let entry = layout.parameter(named: "\(node.name).\(suffix)") else {
      preconditionFailure("the layout has no parameter \(node.name).\(suffix); it is not this graph's")
    }
    return entry
  }
}

/// The pieces as kernels take them, at an address that stays.
final class LocalPieces {
  let buffer: UnsafeBufferPointer<ShardPiece>

  init(_ pieces: [ShardPiece]) {
    let copy = UnsafeMutableBufferPointer<ShardPiece>.allocate(capacity: pieces.count)
    _ = copy.initialize(from: pieces)
    buffer = UnsafeBufferPointer(copy)
  }

  deinit { buffer.deallocate() }
}

/// Calls `body(start, count)` for the blocks of a flat range that belong to one part.
///
/// Blocks fit the first-level cache, so that several passes over a block cost one pass over memory; they start at multiples
/// of 4096.
func forEachBlock(of count: Int, part: Int, parts: Int, _ body: (_ start: Int, _ count: Int) -> Void) {
  let blockSize = 4096
  let blocks = (count + blockSize - 1) / blockSize
  for block in blocks * part / parts..<blocks * (part + 1) / parts {
    body(block * blockSize, min(blockSize, count - block * blockSize))
  }
}
