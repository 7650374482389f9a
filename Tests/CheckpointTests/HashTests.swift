import Graph
import Testing

@testable import Checkpoint

@Suite("Hashes")
struct HashTests {
  @Test("SHA-256 gives the values of FIPS 180-2, in one piece or many")
  func standardValues() {
    #expect(
      SHA256.hexadecimal(of: Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(SHA256.hexadecimal(of: []) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    var hash = SHA256()
    for _ in 0..<1_000 { hash.update([UInt8](repeating: UInt8(ascii: "a"), count: 1_000)) }
    #expect(hash.hexadecimal() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test("the state hash does not depend on the order of tensors, and depends on everything else")
  func stateHashes() {
    let a = NamedTensor(name: "a", shape: [2, 1], floats: [1, 2])
    let b = NamedTensor(name: "b", shape: [2], int8s: [1, 2])
    let hash = stateHash(tensors: [a, b])
    #expect(hash.count == 64 && hash == stateHash(tensors: [b, a]))
    let others: [[NamedTensor]] = [
      [a], [], [a.renamed("c"), b], [NamedTensor(name: "a", shape: [1, 2], floats: [1, 2]), b],
      [NamedTensor(name: "a", shape: [2, 1], floats: [1, -2]), b],
      [a, NamedTensor(name: "b", shape: [2], int8s: [2, 1])],
      [NamedTensor(name: "a", shape: [2, 1], floats: [0, 2]), b], [a, b, b.renamed("c")],
    ]
    for other in others { #expect(stateHash(tensors: other) != hash) }
    // By Python's hashlib over the same parts: numbers as 8 bytes little-endian, every part with its length before it.
    #expect(hash == "0c3ef825cf2b3e8c813e07b19514dcfc0a70acb7faf8a5d4d7b8bac34034e722")
  }
}
