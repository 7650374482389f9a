// Numbers written by Golden/make_loop_golden.py, and the twin of its pseudo-random numbers.

import Foundation

/// Reads golden files.
enum LoopGolden {
  /// Decodes Golden/<name>.json.
  static func decode<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let data = try Data(contentsOf: folder.appendingPathComponent("Golden/\(name).json"))
    return try JSONDecoder().decode(type, from: data)
  }

  /// Numbers in [-1, 1), exact in Float: twin of `uniform` in make_loop_golden.py.
  static func uniform(_ tag: Int, count: Int) -> [Double] {
    (0..<count).map { index in
      var z = (UInt64(tag) << 32) &+ UInt64(index + 1)
      z = z &* 0x9E37_79B9_7F4A_7C15
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      z ^= z >> 31
      return Double(z >> 40) * 0x1p-23 - 1
    }
  }
}
