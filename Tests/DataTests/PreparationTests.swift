// Making the store of a job, or finding it again.

import Foundation
import JobSpec
import Testing

@testable import Data

@Suite("preparing a store")
struct PreparationTests {
  private var small: JobSpec.Data {
    var data = JobSpec.Data()
    data.strip.trainCount = 50
    data.strip.testCount = 20
    data.strip.size = 32
    return data
  }

  @Test("a store is made once, then found; the number of threads does not matter")
  func reuse() throws {
    let folder = try TemporaryFolder()
    var progress: [Double] = []
    let first = try StorePreparation.prepare(small, directory: folder.path + "/cache") { progress.append($0) }
    #expect(progress.last == 1 && progress == progress.sorted() && progress.count > 2)
    progress = []
    #expect(try StorePreparation.prepare(small, directory: folder.path + "/cache") { progress.append($0) } == first)
    #expect(progress == [1])
    let alone = try StorePreparation.prepare(small, directory: folder.path + "/other", threads: 1)
    #expect(alone.manifest == first.manifest)
    #expect(first.manifest.train.classCounts == [46, 2, 1, 1, 0])
    #expect(first.manifest.classNames == JobSpec.Strip.classNames)
  }

  @Test("only the keys that make the data name the store")
  func keys() throws {
    let base = try StorePreparation.key(of: small)
    var other = small
    other.augmentation.shift = 3
    other.rareClasses = ["pit"]
    other.sampling.method = .balanced
    #expect(try StorePreparation.key(of: other) == base)
    for change in [
      { $0.strip.trainCount = 51 }, { $0.strip.testCount = 21 }, { $0.strip.size = 40 }, { $0.strip.seed = 9 },
      { $0.strip.mix.pit = 2 }, { $0.strip.highlights = .bright },
    ] as [(inout JobSpec.Data) -> Void] {
      var other = small
      change(&other)
      #expect(try StorePreparation.key(of: other) != base)
    }
  }

  @Test("a damaged store in the cache is made anew")
  func damagedCache() throws {
    let folder = try TemporaryFolder()
    let store = try StorePreparation.prepare(small, directory: folder.path)
    let chunk = URL(fileURLWithPath: store.path(of: ChunkAddress(split: .train, index: 0)))
    var bytes = try Foundation.Data(contentsOf: chunk)
    bytes[1_000] ^= 1
    try bytes.write(to: chunk)
    #expect(try StorePreparation.prepare(small, directory: folder.path) == store)
    try store.verify()
    try folder.write([1, 2, 3], store.directory.dropFirst(folder.path.count + 1) + "/manifest.json")
    #expect(try StorePreparation.prepare(small, directory: folder.path) == store)
  }

  @Test("two that prepare the same store at the same time get one store")
  func concurrency() throws {
    let folder = try TemporaryFolder()
    let data = small
    let path = folder.path
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      #expect(throws: Never.self) { try StorePreparation.prepare(data, directory: path).verify() }
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: path)
    #expect(names.count == 2, "\(names)")
  }

  @Test("a store is taken where it is, and classes that it does not have are refused")
  func existing() throws {
    let folder = try TemporaryFolder()
    let made = try StorePreparation.prepare(small, directory: folder.path)
    var data = JobSpec.Data()
    data.source = .store
    data.store.directory = made.directory
    #expect(try StorePreparation.prepare(data, directory: "/unused").manifest == made.manifest)
    data.rareClasses = ["dent"]
    #expect(
      words { () throws(DataError) in try StorePreparation.prepare(data, directory: "/unused") }
        == "data.rareClasses: error: the data has no class dent\n"
        + "  hint: its classes: background, scratch, crack, particle, pit")
    data.store.directory = folder.path + "/nowhere"
    #expect(code { () throws(DataError) in try StorePreparation.prepare(data, directory: "/unused") } == .missing)
  }

  @Test("a missing IDX directory says which package has it; an unwritable cache says so")
  func refusals() throws {
    let folder = try TemporaryFolder()
    var data = JobSpec.Data()
    data.source = .idx
    data.idx.directory = folder.path + "/nowhere"
    let fault = words { () throws(DataError) in try StorePreparation.prepare(data, directory: folder.path) }
    #expect(fault?.contains("apt-get install dataset-fashion-mnist") == true)
    #expect(
      code { () throws(DataError) in try StorePreparation.prepare(small, directory: "/proc/none") } == .unwritable)
  }
}
