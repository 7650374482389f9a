// The dataset of a job, fetched from the coordinator chunk by chunk into memory: workers share no file system with it.
// Several chunks are on their way at once, so that a link with latency is kept full. Every chunk's CRC is checked; a damaged
// one is asked for once more.
import Data
import Dispatch
import Synchronization

/// Fetches stores.
struct DatasetFetcher: Sendable {
  /// Chunks on their way at once.
  static let laneCount = 4

  let files: CoordinatorFiles

  /// The whole dataset.
  ///
  /// - Parameters:
  ///   - directory: its folder in the coordinator's files.
  ///   - interruption: ends the fetching.
  /// - Throws: `WorkerError` `.data` or `.interrupted`, `DataError` when the store is damaged.
  func fetch(_ directory: String, _ interruption: Interruption) throws -> InMemoryDataset {
    let location = directory + "/manifest.json"
    let manifest = try StoreManifest.decode(
      try files.fetch(location, limit: StoreManifest.byteLimit, interruption), location: location)
    let assembly = Mutex(Assembly(manifest: manifest))
    DispatchQueue.concurrentPerform(iterations: Self.laneCount) { _ in
      while let address = assembly.withLock({ $0.next() }) {
        do {
          try fetchChunk(address, of: manifest, directory, into: assembly, interruption)
        } catch {
          assembly.withLock { $0.failure = $0.failure ?? error }
        }
      }
    }
    return try assembly.withLock { assembly in
      if let failure = assembly.failure { throw failure }
      return try assembly.assembler.finish()
    }
  }

  /// What the lanes share.
  private struct Assembly: ~Copyable {
    let assembler: DatasetAssembler
    var left: ArraySlice<ChunkAddress>
    var failure: (any Error)?

    init(manifest: StoreManifest) {
      assembler = DatasetAssembler(manifest: manifest)
      left = assembler.missing[...]
    }

    mutating func next() -> ChunkAddress? { failure == nil ? left.popFirst() : nil }
  }

  private func fetchChunk(
    _ address: ChunkAddress, of manifest: StoreManifest, _ directory: String, into assembly: borrowing Mutex<Assembly>,
    _ interruption: Interruption
  ) throws {
    let entry = manifest[address.split].chunks[address.index]
    let location = "\(directory)/\(entry.file)"
    for isLastTry in [false, true] {
      let bytes = try files.fetch(location, limit: entry.byteCount, interruption)
      do {
        return try assembly.withLock { try $0.assembler.add(bytes, at: address, location: location) }
      } catch  where !isLastTry { continue }
    }
  }
}
