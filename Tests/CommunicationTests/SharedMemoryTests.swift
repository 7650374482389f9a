import Foundation
import Glibc
import Testing

@testable import Communication

@Suite("Memory shared by members on one machine", .serialized)
struct SharedMemoryTests {
  @Test("sums are the same whether peers read them in place or get them sent", arguments: [2, 3, 1, 0], [2, 3])
  func sameSums(sharing: Int, worldSize: Int) throws {
    let ranks = try Ranks.overZeroMQ(worldSize, ipc: true) { $0 < sharing }
    defer { ranks.close() }
    // Several granules of 262,144 in each rank's part of the second bucket; one that does not share gets them one by one.
    let layout = try ReductionLayout(
      sumCount: 2_000_001, buckets: [1_990_000..<2_000_001, 0..<1_990_000], maximumCount: 5)
    let ranges = worldSize == 2 ? [0..<4, 4..<8] : [0..<3, 3..<5, 5..<8]
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: ranges, shardCount: 8)
      let maxima = UnsafeMutablePointer<Float>.allocate(capacity: 5)
      defer { maxima.deallocate() }
      let buffers = try allReduce.pieces.map { _ in try #require(SharedBuffer(count: layout.sumCount)) }
      defer { withExtendedLifetime(buffers) {} }
      // Peers accept offers while the first steps are made.
      for step in 0..<20 {
        for (piece, buffer) in zip(allReduce.pieces, buffers) {
          for element in 0..<layout.sumCount {
            buffer.pointer[element] = Float(piece.count * (element % 1_000 + step))
          }
        }
        maxima.update(repeating: 0, count: 5)
        allReduce.begin(
          step: UInt64(step), pieces: buffers.map(\.pointer), result: buffers[0].pointer, maxima: maxima)
        for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
        allReduce.submitMaxima()
        try allReduce.wait()
        for element in 0..<layout.sumCount where buffers[0].pointer[element] != Float(8 * (element % 1_000 + step)) {
          return element
        }
      }
      return -1
    }
    for result in results { #expect(try result.get() == -1, "an element differs") }
    for (rank, mesh) in ranks.meshes.enumerated() {
      let traffic = mesh.traffic
      #expect(traffic.droppedFrames == 0)
      guard rank < sharing else {
        #expect(traffic.lentBytes == 0)
        continue
      }
      #expect(traffic.lentBytes > traffic.sentBytes / 4)
      // Two partial sums or more and two results to each peer a step; but for the first steps, none is cut.
      if sharing >= worldSize { #expect(traffic.sentFrames < UInt64(20 * (worldSize - 1) * 8)) }
    }
  }

  @Test("a generation that ends leaves nothing behind: the next one shares again")
  func nextGeneration() throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: true)
    defer { ranks.close() }
    let layout = try ReductionLayout(sumCount: 100_000, buckets: [0..<100_000], maximumCount: 0)
    var lent: UInt64 = 0
    for generation in 1...3 {
      let results = ranks.run(generation: UInt64(generation)) { rank, mesh in
        let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<1, 1..<2], shardCount: 2)
        let buffer = try #require(SharedBuffer(count: layout.sumCount))
        for step in 0..<20 {
          buffer.pointer.update(repeating: Float(generation), count: layout.sumCount)
          allReduce.begin(
            step: UInt64(step), pieces: [buffer.pointer], result: buffer.pointer, maxima: buffer.pointer)
          allReduce.submit(bucket: 0)
          try allReduce.wait()
        }
        return buffer.pointer[99_999]
      }
      for result in results { #expect(try result.get() == Float(2 * generation)) }
      #expect(ranks.meshes[0].traffic.lentBytes > lent)
      lent = ranks.meshes[0].traffic.lentBytes
    }
  }

  @Test("sums of memory that its owner took back are not used")
  func withdrawn() throws {
    let network = MemoryNetwork()
    let ranks = try Ranks(2) { try network.makeMesh(name: "\($0)", onPeerLost: $1) }
    defer { ranks.close() }
    let layout = try ReductionLayout(sumCount: 1_000, buckets: [0..<1_000], maximumCount: 0)
    network.withdrawMemory(name: "1")
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<1, 1..<2], shardCount: 2)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      allReduce.submit(bucket: 0)
      try allReduce.wait()
    }
    let error = #expect(throws: CommunicationError.self) { try results[0].get() }
    #expect(error?.code == .generationEnded)
    #expect(error?.message == "rank 1 (w1) is no longer in it")
  }

  @Test("a loan is whole until its lender ends the generation")
  func eras() throws {
    let buffer = try #require(SharedBuffer(count: 100))
    buffer.pointer[7] = 42
    let (lender, reader) = (MemorySharing(isAllowed: true), MemorySharing(isAllowed: true))
    #expect(reader.accept(try #require(lender.offer), from: 3))
    let payload = UnsafeRawBufferPointer(start: buffer.pointer + 7, count: 8)
    let (number, place) = try #require(lender.lend(payload, to: 1))
    let loan = try #require(reader.borrow(place, byteCount: 8, from: 3))
    #expect(loan.load(as: Float.self) == 42)
    #expect(loan.baseAddress != payload.baseAddress)
    #expect(reader.isIntact(3))
    #expect(!lender.takeBack(number, from: 2))
    #expect(!lender.takeBack(number + 1, from: 1))
    #expect(lender.end() == 1)
    #expect(!reader.isIntact(3))
    // The offer of an era that is over is not taken.
    let offer = try #require(lender.offer)
    #expect(lender.end() == 0)
    #expect(!reader.accept(offer, from: 3))
    #expect(reader.borrow(place, byteCount: 397, from: 3) == nil)
  }

  @Test("only memory in a shared buffer is lent, and not longer than it lives")
  func places() throws {
    let ordinary: [Float] = [1, 2, 3]
    ordinary.withUnsafeBytes { #expect(SharedSegment.place(of: $0) == nil) }
    var buffer = SharedBuffer(count: 100)
    let start = try #require(buffer).pointer
    let last = SharedSegment.place(of: UnsafeRawBufferPointer(start: start + 99, count: 4))
    #expect(last?.offset == 396 && last?.contentByteCount == 400)
    #expect(SharedSegment.place(of: UnsafeRawBufferPointer(start: start + 99, count: 5)) == nil)
    buffer = nil
    #expect(SharedSegment.place(of: UnsafeRawBufferPointer(start: start + 99, count: 4)) == nil)
  }

  @Test("another file, another mark, another size and another process are refused")
  func foreign() throws {
    let segment = try #require(SharedSegment(byteCount: 64))
    let place = segment.place()
    #expect(ForeignSegment(process: getpid(), place: place) != nil)
    var wrong = place
    wrong.mark = SharedMark()
    #expect(ForeignSegment(process: getpid(), place: wrong) == nil)
    wrong = place
    wrong.contentByteCount = 65
    #expect(ForeignSegment(process: getpid(), place: wrong) == nil)
    wrong = place
    wrong.descriptor = 0
    #expect(ForeignSegment(process: getpid(), place: wrong) == nil)
    #expect(ForeignSegment(process: 1, place: place) == nil)
  }

  @Test("offers and places survive the wire, and nothing else passes for one")
  func wire() throws {
    let segment = try #require(SharedSegment(byteCount: MemoryPage.byteCount))
    let offer = MemoryOffer(process: 4711, page: segment.place(), era: 9)
    var bytes = [UInt8](repeating: 0, count: MemoryOffer.byteCount)
    bytes.withUnsafeMutableBytes { offer.encode(into: $0.baseAddress!) }
    let decoded = bytes.withUnsafeBytes { MemoryOffer(decoding: $0) }
    #expect(decoded?.process == 4711 && decoded?.era == 9 && decoded?.page == offer.page)
    #expect(bytes.dropLast().withUnsafeBytes { MemoryOffer(decoding: $0) } == nil)
    bytes[47] = 0x80
    #expect(bytes.withUnsafeBytes { MemoryOffer(decoding: $0) } == nil)
    bytes[47] = 0
    bytes[31] = 0x7F
    #expect(bytes.withUnsafeBytes { MemoryOffer(decoding: $0) } == nil)
  }
}
