// What `temper bench gemm` reports; the names of the stored properties are those of its JSON object.

import Graph
import Kernels

extension GemmBenchmark {
  /// The result of a measurement.
  public struct Result: Codable, Sendable, Hashable {
    /// One kind of product.
    public struct Product: Codable, Sendable, Hashable {
      /// Median time of a call.
      public let medianMilliseconds: Double
      /// Shortest time of a call.
      public let minimumMilliseconds: Double
      /// 10^9 multiplications and additions per second at the median, padding included.
      public let gigaflopsPerSecond: Double
      /// That, as a share of the peak of such products.
      ///
      /// Winograd's algorithm makes fewer multiplications than are counted, so its share may be above 1.
      public let shareOfPeak: Double
    }

    /// The products of one shape.
    public struct Layer: Codable, Sendable, Hashable {
      /// The layers that have the shape.
      public let names: [String]
      /// Height and width of the input.
      public let inputSize: Int
      /// Channels of the input.
      public let inputChannels: Int
      /// Channels of the output.
      public let outputChannels: Int
      /// Height and width of the kernel.
      public let kernel: Int
      /// Step between output pixels.
      public let stride: Int
      /// Multiply-adds of a call, padding included.
      public let multiplyAdds: Int
      /// Forward in FP32.
      public let forward: Product
      /// Gradient with respect to the input; absent for the first layer.
      public let inputGradient: Product?
      /// Gradient with respect to the weights.
      public let weightGradient: Product
      /// Forward in INT8.
      public let int8Forward: Product
      /// Gradient with respect to the input from INT8 weights and INT16 gradients; absent for the first layer.
      public let int16InputGradient: Product?
      /// Gradient with respect to the weights from INT8 inputs and INT16 gradients.
      public let int16WeightGradient: Product
    }

    /// A kind of product over several layers, each as often as the network has it.
    public struct Total: Codable, Sendable, Hashable {
      /// Sum of medians.
      public let milliseconds: Double
      /// Work over that sum.
      public let gigaflopsPerSecond: Double
      /// That, as a share of the peak.
      public let shareOfPeak: Double
    }

    /// Which measurement this is.
    public let benchmark: String
    /// Height and width of the network's input in pixels.
    public let size: Int
    /// Images.
    public let batch: Int
    /// Virtual shards of the weight gradient.
    public let virtualShards: Int
    /// Threads.
    public let threads: Int
    /// Measured calls per product.
    public let repetitions: Int
    /// Instructions that the kernels use.
    public let instructionSet: String
    /// The machine.
    public let machine: Machine
    /// 10^9 multiplications and additions per second at most, of all threads together.
    public let peak: Peak
    /// The shapes, in the order of the network.
    public let layers: [Layer]
    /// All convolutions, by kind of product.
    public let all: [String: Total]
    /// 3x3 convolutions alone, by kind of product.
    public let threeByThree: [String: Total]
  }
}

extension GemmBenchmark.Result {
  /// Kinds of product by their key.
  static let kinds: [(kind: ConvolutionWork.Kind, of: @Sendable (Layer) -> Product?)] = [
    (.forward, { $0.forward }), (.inputGradient, { $0.inputGradient }), (.weightGradient, { $0.weightGradient }),
    (.int8Forward, { $0.int8Forward }), (.int16InputGradient, { $0.int16InputGradient }),
    (.int16WeightGradient, { $0.int16WeightGradient }),
  ]

  /// Kinds of product as columns of a table: the key of their totals, their name, a layer's figures.
  package static let columns = kinds.map { (key: $0.kind.rawValue, label: $0.kind.label, of: $0.of) }

  init(_ options: GemmBenchmark.Options, peak: Peak, layers: [Layer]) {
    benchmark = "gemm"
    size = options.size
    batch = options.batch
    virtualShards = options.virtualShards
    threads = options.threads
    repetitions = options.repetitions
    instructionSet = Machine.instructionSet
    machine = .current
    self.peak = peak
    self.layers = layers
    func totals(_ layers: [Layer]) -> [String: Total] {
      var totals: [String: Total] = [:]
      for (kind, product) in Self.kinds {
        var (milliseconds, operations) = (0.0, 0.0)
        for layer in layers {
          guard let product = product(layer) else { continue }
          milliseconds += Double(layer.names.count) * product.medianMilliseconds
          operations += Double(layer.names.count * 2 * layer.multiplyAdds)
        }
        let speed = operations / milliseconds / 1e6
        let limit = kind.limit(peak)
        totals[kind.rawValue] = Total(
          milliseconds: milliseconds, gigaflopsPerSecond: speed, shareOfPeak: speed / limit)
      }
      return totals
    }
    all = totals(layers)
    threeByThree = totals(layers.filter { $0.kernel == 3 })
  }
}

extension GemmBenchmark.Result.Layer {
  init(
    _ layer: GemmBenchmark.DistinctLayer, _ milliseconds: [ConvolutionWork.Kind: [Double]],
    _ options: GemmBenchmark.Options, peak: Peak
  ) {
    let operations = layer.geometry.multiplyAddsPerSample * options.batch
    func product(_ kind: ConvolutionWork.Kind) -> GemmBenchmark.Result.Product {
      let distribution = Distribution(milliseconds[kind] ?? [])
      let speed = 2 * Double(operations) / distribution.median / 1e6
      let limit = kind.limit(peak)
      return .init(
        medianMilliseconds: distribution.median, minimumMilliseconds: distribution.minimum, gigaflopsPerSecond: speed,
        shareOfPeak: speed / limit)
    }
    names = layer.names
    inputSize = layer.geometry.inputHeight
    inputChannels = layer.geometry.inputChannels
    outputChannels = layer.geometry.outputChannels
    kernel = layer.geometry.kernelHeight
    stride = layer.geometry.stride
    multiplyAdds = operations
    forward = product(.forward)
    inputGradient = layer.isFirst ? nil : product(.inputGradient)
    weightGradient = product(.weightGradient)
    int8Forward = product(.int8Forward)
    int16InputGradient = layer.isFirst ? nil : product(.int16InputGradient)
    int16WeightGradient = product(.int16WeightGradient)
  }
}
