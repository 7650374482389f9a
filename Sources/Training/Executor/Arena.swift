// One allocation for all tensors of a program. Transient tensors whose stages do not overlap share memory.
// Placement is greedy: largest first, each at the lowest address that is free during its stages (Pisarchyk and Lee,
// "Efficient Memory Management for Deep Neural Net Inference", arXiv 2001.03288, "greedy by size").

/// The memory of one program.
final class Arena {
  /// Cache lines: no two tensors share one, and vectors load aligned.
  private static let alignment = 64
  /// Bytes of all tensors together.
  let byteCount: Int
  /// Bytes of the part that transient tensors share.
  let transientByteCount: Int
  private let memory: UnsafeMutableRawPointer

  /// Plans and allocates; every tensor has its address afterwards.
  ///
  /// - Parameter sharing: makes the memory of shared tensors, which is no part of the arena.
  /// - Throws: what the making of shared memory throws.
  init(_ tensors: [Tensor], sharing: ProgramSharing? = nil) throws {
    let transient = tensors.filter { $0.lifetime == .transient && $0.lastStage >= 0 }
    let shared = tensors.filter { $0.lifetime == .shared }
    if let sharing, !shared.isEmpty {
      try sharing.allocate(byteCount: shared.reduce(0) { $0 + Self.aligned($1.byteCount) })
    }
    let own = tensors.filter { $0.lifetime == .persistent }
    let persistent = sharing?.memory == nil ? own + shared : own
    let (offsets, transientEnd) = Self.place(transient)
    var end = transientEnd
    var persistentOffsets: [Int] = []
    for tensor in persistent {
      persistentOffsets.append(end)
      end += Self.aligned(tensor.byteCount)
    }
    transientByteCount = transientEnd
    byteCount = end
    memory = LargeMemory.allocate(byteCount: max(end, Self.alignment))
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: end)
    for (tensor, offset) in zip(transient, offsets) { tensor.place(at: memory + offset) }
    for (tensor, offset) in zip(persistent, persistentOffsets) { tensor.place(at: memory + offset) }
    guard let start = sharing?.memory?.pointer else { return }
    var next = UnsafeMutableRawPointer(start)
    for tensor in shared {
      tensor.place(at: next)
      next += Self.aligned(tensor.byteCount)
    }
  }

  deinit { memory.deallocate() }

  /// Fills what transient tensors hold with NaN patterns: a step that then gives other results reads what it has not written.
  func poisonTransientMemory() {
    memory.initializeMemory(as: UInt8.self, repeating: 0xFF, count: transientByteCount)
  }

  private static func aligned(_ count: Int) -> Int { (max(count, 1) + alignment - 1) / alignment * alignment }

  /// Offsets of transient tensors, in their order, and the end of the highest.
  static func place(_ tensors: [Tensor]) -> (offsets: [Int], end: Int) {
    var offsets = [Int](repeating: 0, count: tensors.count)
    var placed: [Int] = []
    var end = 0
    let bySize = tensors.indices.sorted {
      (tensors[$1].byteCount, $0) < (tensors[$0].byteCount, $1)
    }
    for index in bySize {
      let tensor = tensors[index]
      let conflicts = placed.filter {
        tensors[$0].firstStage <= tensor.lastStage && tensor.firstStage <= tensors[$0].lastStage
      }.sorted { offsets[$0] < offsets[$1] }
      var offset = 0
      for other in conflicts {
        if offset + aligned(tensor.byteCount) <= offsets[other] { break }
        offset = max(offset, offsets[other] + aligned(tensors[other].byteCount))
      }
      offsets[index] = offset
      placed.append(index)
      end = max(end, offset + aligned(tensor.byteCount))
    }
    return (offsets, end)
  }
}
