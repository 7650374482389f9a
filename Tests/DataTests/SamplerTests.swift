// Which sample stands at which slot.

import JobSpec
import Testing

@testable import Data

@Suite("the order of samples")
struct SamplerTests {
  private let classNames = ["background", "scratch", "pit"]
  /// 96 background, 3 scratch, 1 pit.
  private let labels = (0..<100).map { Int32($0 % 33 == 5 ? 1 : $0 == 50 ? 2 : 0) }

  private func sampler(_ sampling: JobSpec.Sampling, batchSize: Int = 16, seed: UInt64 = 1) throws -> Sampler {
    try Sampler(labels: labels, classNames: classNames, sampling: sampling, batchSize: batchSize, seed: seed)
  }

  private func batch(_ sampler: Sampler, epoch: Int, step: Int, slots: Range<Int>? = nil) -> [Int32] {
    let slots = slots ?? 0..<sampler.batchSize
    return [Int32](unsafeUninitializedCapacity: slots.count) { buffer, count in
      let whole = UnsafeMutableBufferPointer(rebasing: buffer[..<slots.count])
      sampler.fill(epoch: epoch, step: step, slots: slots, into: whole)
      count = slots.count
    }
  }

  private func epoch(_ sampler: Sampler, _ epoch: Int) -> [Int32] {
    (0..<sampler.stepsPerEpoch).flatMap { batch(sampler, epoch: epoch, step: $0) }
  }

  private var balanced: JobSpec.Sampling {
    var sampling = JobSpec.Sampling()
    sampling.method = .balanced
    sampling.shares = ["background": 0.5]
    return sampling
  }

  @Test("natural sampling meets every sample once per epoch and leaves out the last partial batch")
  func natural() throws {
    let even = try sampler(JobSpec.Sampling(), batchSize: 20)
    #expect(even.stepsPerEpoch == 5)
    #expect(epoch(even, 1).sorted() == (0..<100).map(Int32.init))
    #expect(epoch(even, 1) != epoch(even, 2))
    let odd = try sampler(JobSpec.Sampling())
    #expect(odd.stepsPerEpoch == 6)
    let first = epoch(odd, 1)
    #expect(Set(first).count == 96)
    #expect(Set(first) != Set(epoch(odd, 2)), "the same samples are left out every epoch")
  }

  @Test("any range of slots gives the same samples as the whole batch", arguments: [false, true])
  func ranges(isBalanced: Bool) throws {
    let sampler = try sampler(isBalanced ? balanced : JobSpec.Sampling())
    for step in 0..<sampler.stepsPerEpoch {
      let whole = batch(sampler, epoch: 3, step: step)
      for slots in [0..<0, 0..<2, 2..<6, 6..<16, 15..<16] {
        #expect(batch(sampler, epoch: 3, step: step, slots: slots) == Array(whole[slots]))
      }
    }
  }

  @Test("the order is a function of seed, epoch and step", arguments: [false, true])
  func determinism(isBalanced: Bool) throws {
    let sampling = isBalanced ? balanced : JobSpec.Sampling()
    #expect(epoch(try sampler(sampling), 4) == epoch(try sampler(sampling), 4))
    #expect(epoch(try sampler(sampling), 4) != epoch(try sampler(sampling, seed: 2), 4))
  }

  @Test("balanced sampling gives each class exactly its share of the epoch")
  func shares() throws {
    let sampler = try sampler(balanced)
    #expect(sampler.slotsPerClass == [48, 24, 24])
    for number in 1...3 {
      var counts = [0, 0, 0]
      for index in epoch(sampler, number) { counts[Int(labels[Int(index)])] += 1 }
      #expect(counts == [48, 24, 24])
    }
    // Every virtual shard of 4 sees nearly the same mix.
    for step in 0..<sampler.stepsPerEpoch {
      for first in stride(from: 0, to: 16, by: 4) {
        let shard = batch(sampler, epoch: 1, step: step, slots: first..<(first + 4))
        #expect((1...3).contains(shard.filter { labels[Int($0)] == 0 }.count))
      }
    }
  }

  @Test("balanced sampling repeats the samples of a class evenly, over epochs too")
  func evenRepeats() throws {
    let sampler = try sampler(balanced)
    var uses = Array(repeating: 0, count: 100)
    for number in 1...5 {
      for index in epoch(sampler, number) { uses[Int(index)] += 1 }
      for label in 0..<3 {
        let ofClass = uses.indices.filter { labels[$0] == Int32(label) }.map { uses[$0] }
        #expect((ofClass.max() ?? 0) - (ofClass.min() ?? 0) <= 1, "class \(label) after epoch \(number)")
      }
    }
  }

  @Test("shares that the data cannot serve are refused with the remedy")
  func refusals() throws {
    var sampling = balanced
    sampling.shares = ["crack": 0.5]
    #expect(
      words { () throws(DataError) in
        try Sampler(labels: labels, classNames: classNames, sampling: sampling, batchSize: 16, seed: 1)
      } == "data.sampling.shares: error: the data has no class crack\n  hint: its classes: background, scratch, pit")
    #expect(
      words { () throws(DataError) in
        try Sampler(labels: [0, 0, 1, 1], classNames: classNames, sampling: balanced, batchSize: 2, seed: 1)
      } == "data.sampling.shares: error: class pit has a share of 0.25 and no training sample\n"
        + "  hint: give it share 0, or add samples")
    #expect(
      words { () throws(DataError) in
        try Sampler(labels: labels, classNames: classNames, sampling: balanced, batchSize: 128, seed: 1)
      } == "training.batchSize: error: a batch takes 128 samples; the training split has 100\n"
        + "  hint: lower training.batchSize")
    sampling.shares = ["background": 0, "scratch": 0, "pit": 0]
    #expect(
      code { () throws(DataError) in
        try Sampler(labels: labels, classNames: classNames, sampling: sampling, batchSize: 16, seed: 1)
      } == .unsuitable)
  }

  @Test("a class of share 0 is left out")
  func zeroShare() throws {
    var sampling = balanced
    sampling.shares = ["pit": 0]
    let sampler = try sampler(sampling)
    #expect(sampler.slotsPerClass == [48, 48, 0])
    #expect(!epoch(sampler, 1).contains(50))
  }
}
