// ResNet-10 and ResNet-18 of basic blocks: topology and names of torchvision.models.resnet (He et al. 2015), with the
// options small images need. Block: conv1 3x3 (stride) - bn1 - relu - conv2 3x3 - bn2 - add identity - relu; the
// identity passes downsample (1x1 convolution + BatchNorm) where shape changes. torchvision reuses one `relu` module
// per block; nodes need unique names, so they are relu1 and relu2 here (they hold no parameters).

/// Builder of residual classifiers.
public enum ResNet {
  /// What precedes the first stage.
  public enum Stem: Sendable, Hashable {
    /// 7x7 convolution of stride 2, BatchNorm, ReLU, 3x3 max pooling of stride 2, as in torchvision.
    case imagenet
    /// 3x3 convolution of the given stride, BatchNorm, ReLU, no pooling: for images of 28 to 96 pixels.
    case small(stride: Int)
  }

  /// Builds a classifier graph with one output, "logits".
  /// - Parameters:
  ///   - stem: how the image enters.
  ///   - depth: 10 (one block per stage) or 18 (two).
  ///   - width: factor on torchvision's 64, 128, 256, 512 channels; the first is rounded to a multiple of 8, at least 8,
  ///     and doubles per stage.
  ///   - input: shape of a sample; one or three channels, or any other number.
  ///   - classes: channels of the output.
  /// - Throws: `GraphError.invalidArgument` for an unknown depth or a width that is not positive and finite;
  ///   `.shapeMismatch` when the image is too small for the stem.
  public static func build(
    depth: Int = 18, width: Double = 1, stem: Stem = .imagenet, input: TensorShape, classes: Int
  ) throws -> Graph {
    guard let blocks = [10: 1, 18: 2][depth] else {
      throw GraphError(.invalidArgument, "ResNet depth \(depth) is not built", hint: "use 10 or 18")
    }
    guard width > 0, width <= 16 else {
      throw GraphError(.invalidArgument, "width \(width) is outside 0 < width <= 16")
    }
    let channels = max(8, Int((64 * width / 8).rounded()) * 8)
    var graph = try Graph(input: input)
    var node = try add(stem, channels: channels, to: &graph)
    for stage in 0..<4 {
      for block in 0..<blocks {
        node = try addBasicBlock(
          "layer\(stage + 1).\(block)", node, channels: channels << stage, stride: stage > 0 && block == 0 ? 2 : 1,
          to: &graph)
      }
    }
    node = try graph.globalAveragePool("avgpool", node)
    node = try graph.linear("fc", node, outputChannels: classes)
    try graph.addOutput("logits", node)
    return graph
  }

  private static func add(_ stem: Stem, channels: Int, to graph: inout Graph) throws -> NodeID {
    var node = graph.input
    switch stem {
    case .imagenet:
      node = try graph.convolution("conv1", node, outputChannels: channels, kernel: 7, stride: 2, padding: 3)
    case .small(let stride):
      node = try graph.convolution("conv1", node, outputChannels: channels, kernel: 3, stride: stride, padding: 1)
    }
    node = try graph.relu("relu", graph.batchNorm("bn1", node))
    return stem == .imagenet ? try graph.maxPool("maxpool", node, kernel: 3, stride: 2, padding: 1) : node
  }

  private static func addBasicBlock(
    _ name: String, _ input: NodeID, channels: Int, stride: Int, to graph: inout Graph
  ) throws -> NodeID {
    var main = try graph.convolution(
      "\(name).conv1", input, outputChannels: channels, kernel: 3, stride: stride, padding: 1)
    main = try graph.relu("\(name).relu1", graph.batchNorm("\(name).bn1", main))
    main = try graph.convolution("\(name).conv2", main, outputChannels: channels, kernel: 3, padding: 1)
    main = try graph.batchNorm("\(name).bn2", main)
    var identity = input
    if stride != 1 || graph[input].shape.channels != channels {
      identity = try graph.convolution(
        "\(name).downsample.0", input, outputChannels: channels, kernel: 1, stride: stride)
      identity = try graph.batchNorm("\(name).downsample.1", identity)
    }
    return try graph.relu("\(name).relu2", graph.add("\(name).add", main, identity))
  }
}
