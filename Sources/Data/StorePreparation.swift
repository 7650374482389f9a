// Makes the store that a job asks for, or finds the one made before.
//
// A generated or imported store is kept in a cache directory under a name that holds a hash of everything it was made
// from: the keys of the job and, for imported files, their sizes and times. A lock file per store keeps two processes
// from making it at the same time: the second waits and then finds it.

import Foundation
public import JobSpec

/// Makes or finds the store of a job.
public enum StorePreparation {
  /// Version of the generator and the importers; raised whenever the same keys would give other bytes.
  static let recipe = 1

  /// Makes or reuses the store of a job.
  ///
  /// Called by the coordinator on a background thread; takes seconds.
  ///
  /// - Parameters:
  ///   - data: The job's `data` section, with absolute paths.
  ///   - directory: Cache directory; created. Unused when the source is a store already.
  ///   - threads: Threads of the strip generator.
  ///   - progress: Called with the share done, 0...1, on the calling thread.
  /// - Throws: `DataError` of the source or of the cache; a damaged cached store is made anew.
  public static func prepare(
    _ data: JobSpec.Data, directory: String, threads: Int = 2, progress: (Double) -> Void = { _ in }
  ) throws(DataError) -> Store {
    if data.source == .store {
      let store = try Store.open(data.store.directory)
      progress(1)
      return try checked(store, for: data)
    }
    try FileAccess.createDirectory(directory)
    let target = "\(directory)/\(data.source.rawValue)-\(try key(of: data))"
    let lock = try FileLock(target + ".lock")
    defer { lock.release() }
    if FileAccess.exists(target) {
      if let store = verified(target) {
        progress(1)
        return try checked(store, for: data)
      }
      try FileAccess.remove(target)
    }
    let store =
      switch data.source {
      case .strip: try generate(data.strip, to: target, threads: threads, progress: progress)
      case .idx: try IDXImporter.importDirectory(data.idx.directory, classNames: data.idx.classNames, to: target)
      case .store: preconditionFailure("handled above")
      }
    progress(1)
    return try checked(store, for: data)
  }

  /// The store of an earlier run, or nil when it has to be made again, for whatever reason.
  private static func verified(_ directory: String) -> Store? {
    do throws(DataError) {
      let store = try Store.open(directory)
      try store.verify()
      return store
    } catch {
      return nil
    }
  }

  /// What the job says about classes must fit the store.
  private static func checked(_ store: Store, for data: JobSpec.Data) throws(DataError) -> Store {
    for name in data.rareClasses where !store.manifest.classNames.contains(name) {
      throw DataError(
        code: .unsuitable, message: "the data has no class \(name)",
        hint: "its classes: \(store.manifest.classNames.joined(separator: ", "))", location: "data.rareClasses")
    }
    return store
  }

  /// Sixteen hexadecimal digits that name the store of a job.
  static func key(of data: JobSpec.Data) throws(DataError) -> String {
    var hash = FNV64()
    hash.add(recipe)
    hash.add(StoreManifest.formatVersion)
    hash.add(data.source.rawValue)
    switch data.source {
    case .strip:
      let strip = data.strip
      hash.add(strip.trainCount)
      hash.add(strip.testCount)
      hash.add(strip.size)
      hash.add(Int(bitPattern: UInt(strip.seed)))
      for share in strip.mix.shares { hash.add(Int(bitPattern: UInt(share.bitPattern))) }
      hash.add(strip.highlights.rawValue)
    case .idx:
      for name in data.idx.classNames { hash.add(name) }
      for path in try IDXImporter.files(in: data.idx.directory) {
        hash.add(path)
        let stamp = try FileAccess.stamp(path)
        hash.add(stamp.byteCount)
        hash.add(stamp.modificationSeconds)
      }
    case .store: preconditionFailure("a store is not cached")
    }
    return hash.hexadecimal
  }

  /// Generates both splits, some chunks at a time on each thread, and appends them in order.
  private static func generate(
    _ strip: JobSpec.Strip, to target: String, threads: Int, progress: (Double) -> Void
  ) throws(DataError) -> Store {
    let writer = try StoreWriter(
      directory: target, name: "steel-strip", height: strip.size, width: strip.size, channels: 1,
      classNames: JobSpec.Strip.classNames)
    var done = 0
    for split in Split.allCases {
      let generator = StripGenerator(strip, split: split)
      let perThread = max(1, Chunk.targetByteCount / (strip.size * strip.size))
      for start in stride(from: 0, to: generator.count, by: perThread * max(1, threads)) {
        let ranges = stride(from: start, to: min(start + perThread * max(1, threads), generator.count), by: perThread)
          .map { $0..<min($0 + perThread, generator.count) }
        for chunk in concurrently(ranges, generator.generate) {
          try writer.append(chunk, to: split)
          done += chunk.labels.count
        }
        progress(Double(done) / Double(strip.trainCount + strip.testCount))
      }
    }
    return try writer.finish()
  }

  /// Maps ranges to chunks, one thread each, results in order.
  private static func concurrently(
    _ ranges: [Range<Int>], _ body: @Sendable (Range<Int>) -> Chunk
  ) -> [Chunk] {
    let results = ChunkSlots(count: ranges.count)
    DispatchQueue.concurrentPerform(iterations: ranges.count) { results.set(body(ranges[$0]), at: $0) }
    return results.chunks
  }
}

/// Results of concurrent work, by position.
///
/// `@unchecked Sendable` because `lock` guards the only mutable state.
private final class ChunkSlots: @unchecked Sendable {
  private let lock = NSLock()
  private var slots: [Chunk?]

  init(count: Int) { slots = Array(repeating: nil, count: count) }

  func set(_ chunk: Chunk, at position: Int) { lock.withLock { slots[position] = chunk } }

  var chunks: [Chunk] { lock.withLock { slots.compactMap { $0 } } }
}
