// Reads golden.json, which Golden/make_golden.py writes with torch.ao and numpy.

import Foundation

/// What the script wrote.
struct Golden: Decodable {
  struct FakeQuantize: Decodable {
    let scale: Float
    let zeroPoint: Int32
    let low: Int32
    let high: Int32
    let input: [Float]
    let output: [Float]
    let mask: [Int]
  }

  struct ObserverStep: Decodable {
    let minimum: Float
    let maximum: Float
    let movingMinimum: Float
    let movingMaximum: Float
    let movingScale: Float
    let minMaxMinimum: Float
    let minMaxMaximum: Float
    let minMaxScale: Float
  }

  struct ObserverCase: Decodable {
    let constant: Float
    let steps: [ObserverStep]
  }

  struct PerChannel: Decodable {
    let shape: [Int]
    let weights: [Float]
    let scales: [Float]
    let output: [Float]
  }

  struct Calibration: Decodable {
    let name: String
    let exponent: Int
    let maximum: Float
    let counts: [[Int]]
    let entropy: Double
    let divergence: Double
    let mse: Double
    let percentile99: Double
    let percentile9999: Double
  }

  let fakeQuantize: [FakeQuantize]
  let observers: [ObserverCase]
  let perChannel: PerChannel
  let calibration: [Calibration]

  static func load() throws -> Golden {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden/golden.json")
    return try JSONDecoder().decode(Golden.self, from: Data(contentsOf: url))
  }
}
