// One number for everything that a result depends on: two runs agree exactly when their hashes do.

import Foundation
public import Graph

/// SHA-256 over tensors sorted by name: name, element type, shape and bytes of each, every part with its length before it.
///
/// What the hash covers is the caller's choice; for `temper checkpoint hash` it is weights, optimizer, observers and BatchNorm statistics.
/// - Returns: 64 hexadecimal digits.
public func stateHash(tensors: [NamedTensor]) -> String {
  var hash = SHA256()
  func take(_ number: Int) { withUnsafeBytes(of: UInt64(number).littleEndian) { hash.update($0) } }
  func take(_ text: String) {
    take(text.utf8.count)
    hash.update(Array(text.utf8))
  }
  take(tensors.count)
  // By UTF-8 bytes, an order that no locale or library version changes.
  for tensor in tensors.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
    take(tensor.name)
    take(tensor.elementType.rawValue)
    take(tensor.shape.count)
    for extent in tensor.shape { take(extent) }
    take(tensor.bytes.count)
    hash.update(tensor.bytes)
  }
  return hash.hexadecimal()
}
