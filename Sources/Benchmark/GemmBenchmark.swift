// How near to the core's limit ResNet-18's products come, layer by layer: `temper bench gemm`.
//
// The limit is measured first, by loops of independent multiply-adds in registers (KernelBody/Peak.swift), and again at the
// end; the larger counts. Layers come from the same graph as training. Kinds of product take turns within a layer. Products
// with padding count as if they were made, so an image of few pixels can show more than it does.

import Graph
import Kernels
import Training

/// Measures convolutions against the peak.
public struct GemmBenchmark: Sendable {
  /// What is measured.
  public struct Options: Sendable, Hashable {
    /// Height and width of the network's input in pixels.
    public var size = 64
    /// Images.
    public var batch = 64
    /// Virtual shards by which the weight gradient is summed.
    public var virtualShards = 8
    /// Threads; the peak is that of one, times their number.
    public var threads = 1
    /// Measured calls per product.
    public var repetitions = 9

    /// Makes the defaults.
    public init() {}
  }

  private let options: Options

  /// Prepares a measurement.
  public init(_ options: Options) { self.options = options }

  /// Measures.
  ///
  /// - Parameter progress: called before every layer with its name.
  /// - Throws: `GraphError` when the images are too small for the model.
  public func run(progress: (_ layer: String) -> Void = { _ in }) throws -> Result {
    let pool = ThreadPool(threadCount: options.threads)
    let before = Peak.measure()
    let layers = try distinctLayers().map { layer in
      progress(layer.names.joined(separator: ", "))
      let work = ConvolutionWork(layer.geometry, options, pool)
      return (layer, work.measure(repetitions: options.repetitions, isFirst: layer.isFirst))
    }
    let peak = before.larger(than: Peak.measure()) * Double(options.threads)
    return Result(options, peak: peak, layers: layers.map { Result.Layer($0.0, $0.1, options, peak: peak) })
  }

  /// A shape of convolution and the layers that have it.
  struct DistinctLayer {
    let geometry: ConvolutionGeometry
    var names: [String]
    /// Whether the input is the image, which needs no gradient.
    let isFirst: Bool
  }

  /// The shapes of ResNet-18's convolutions, in graph order.
  func distinctLayers() throws -> [DistinctLayer] {
    let graph = try ResNet.build(
      depth: 18, width: 1, stem: .imagenet,
      input: TensorShape(height: options.size, width: options.size, channels: BenchmarkJob.channels),
      classes: BenchmarkJob.classCount)
    var layers: [DistinctLayer] = []
    for node in graph.nodes {
      guard case .convolution(let convolution) = node.operation else { continue }
      let input = graph[node.inputs[0]].shape
      let geometry = ConvolutionGeometry(
        inputHeight: input.height, inputWidth: input.width, inputChannels: convolution.inputChannels,
        kernelHeight: convolution.kernel, kernelWidth: convolution.kernel, stride: convolution.stride,
        padding: convolution.padding, outputChannels: convolution.outputChannels)
      if let index = layers.firstIndex(where: { $0.geometry == geometry }) {
        layers[index].names.append(node.name)
      } else {
        layers.append(
          DistinctLayer(geometry: geometry, names: [node.name], isFirst: node.inputs[0] == graph.input))
      }
    }
    return layers
  }
}

/// What one core can do at most, in 10^9 multiplications and additions per second.
public struct Peak: Codable, Sendable, Hashable {
  /// Fused multiply-adds of floats.
  public let fp32: Double
  /// Integer dot products: of bytes with VNNI, of pairs of int16 elsewhere.
  public let int8: Double
  /// The same of pairs of int16: with VNNI half as many.
  public let int16: Double

  init(fp32: Double, int8: Double) {
    self.fp32 = fp32
    self.int8 = int8
    int16 = InstructionSet.current == .avx512vnni ? int8 / 2 : int8
  }

  /// The best of several short runs on this thread.
  static func measure(trials: Int = 20) -> Peak {
    let values = UnsafeMutableRawPointer.allocate(byteCount: 16 * 64, alignment: 64)
    defer { values.deallocate() }
    values.initializeMemory(as: UInt8.self, repeating: 0, count: 16 * 64)
    let floats = values.assumingMemoryBound(to: Float.self)
    let repetitions = 200_000
    var (fp32, int8) = (0.0, 0.0)
    for _ in 0..<trials {
      var start = ContinuousClock.now
      var operations = peakKernels.multiplyAddChains(floats, repetitions: repetitions)
      fp32 = max(fp32, 2 * Double(operations) / start.duration(to: .now).milliseconds / 1e6)
      start = ContinuousClock.now
      operations = peakKernels.dotProductChains(values, repetitions: repetitions)
      int8 = max(int8, 2 * Double(operations) / start.duration(to: .now).milliseconds / 1e6)
    }
    return Peak(fp32: fp32, int8: int8)
  }

  func larger(than other: Peak) -> Peak { Peak(fp32: max(fp32, other.fp32), int8: max(int8, other.int8)) }

  static func * (peak: Peak, threads: Double) -> Peak { Peak(fp32: peak.fp32 * threads, int8: peak.int8 * threads) }
}
