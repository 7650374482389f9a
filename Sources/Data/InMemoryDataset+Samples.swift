// Data sets that never were on a disk.

extension InMemoryDataset {
  /// Makes a data set of splits that were made in memory, for tools and benchmarks.
  ///
  /// - Parameters:
  ///   - name: name of the data set, for people.
  ///   - classNames: class names in label order.
  ///   - train: the training split, not empty.
  ///   - test: the test split, not empty, of the same geometry and classes.
  public convenience init(name: String, classNames: [String], train: SampleSet, test: SampleSet) {
    precondition(
      train.height == test.height && train.width == test.width && train.channels == test.channels
        && train.classCount == classNames.count && test.classCount == classNames.count,
      "splits of \(train.height) x \(train.width) and \(test.height) x \(test.width) pixels, \(train.classCount) and "
        + "\(test.classCount) of \(classNames.count) classes")
    func entry(_ split: Split, _ samples: SampleSet) -> StoreManifest.SplitEntry {
      var counts = [Int](repeating: 0, count: classNames.count)
      for label in samples.labels { counts[Int(label)] += 1 }
      let chunk = StoreManifest.ChunkEntry(
        file: "\(split.rawValue)-memory.chunk",
        byteCount: Chunk.byteCount(samples: samples.count, sampleByteCount: samples.sampleByteCount), crc32: 0,
        sampleCount: samples.count)
      return StoreManifest.SplitEntry(chunks: [chunk], classCounts: counts)
    }
    var manifest = StoreManifest(
      name: name, height: train.height, width: train.width, channels: train.channels, classNames: classNames,
      train: entry(.train, train), test: entry(.test, test), identity: "")
    manifest.identity = manifest.contentHash()
    self.init(manifest: manifest, train: train, test: test)
  }
}
