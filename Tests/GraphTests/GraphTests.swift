// Building graphs: shape inference, several outputs, refusals.

import Graph
import Testing

@Suite("Graph building")
struct GraphTests {
  private func small(_ height: Int = 9, _ width: Int = 8, _ channels: Int = 4) throws -> Graph {
    try Graph(input: TensorShape(height: height, width: width, channels: channels))
  }

  @Test(
    "a window's output extent is floor((size + 2 padding - kernel) / stride) + 1",
    arguments: [
      (kernel: 3, stride: 1, padding: 1, height: 9, width: 8), (kernel: 3, stride: 2, padding: 1, height: 5, width: 4),
      (kernel: 7, stride: 2, padding: 3, height: 5, width: 4), (kernel: 1, stride: 2, padding: 0, height: 5, width: 4),
      (kernel: 8, stride: 5, padding: 0, height: 1, width: 1), (kernel: 2, stride: 2, padding: 0, height: 4, width: 4),
    ])
  func windows(_ window: (kernel: Int, stride: Int, padding: Int, height: Int, width: Int)) throws {
    var graph = try small()
    let convolution = try graph.convolution(
      "c", graph.input, outputChannels: 5, kernel: window.kernel, stride: window.stride, padding: window.padding)
    #expect(graph[convolution].shape == TensorShape(height: window.height, width: window.width, channels: 5))
    if 2 * window.padding <= window.kernel {
      let pool = try graph.maxPool(
        "p", graph.input, kernel: window.kernel, stride: window.stride, padding: window.padding)
      #expect(graph[pool].shape == TensorShape(height: window.height, width: window.width, channels: 4))
    }
  }

  @Test("a pyramid head with lateral convolutions, upsampling, adds and two outputs can be expressed")
  func pyramidHead() throws {
    var graph = try Graph(input: TensorShape(height: 16, width: 24, channels: 32))
    let fine = graph.input
    let coarse = try graph.convolution("c4", fine, outputChannels: 64, kernel: 3, stride: 2, padding: 1)
    let top = try graph.convolution("lateral4", coarse, outputChannels: 48, kernel: 1, hasBias: true)
    let up = try graph.upsampleNearest("up4", top, factor: 2)
    let merged = try graph.add("merge3", graph.convolution("lateral3", fine, outputChannels: 48, kernel: 1), up)
    for (level, node) in [("p3", merged), ("p4", top)] {
      let tower = try graph.relu(
        "\(level).relu",
        graph.convolution(
          "\(level).tower", node, outputChannels: 48, kernel: 3, padding: 1))
      try graph.addOutput(
        "\(level).classes", graph.convolution("\(level).classes", tower, outputChannels: 5, kernel: 1, hasBias: true))
      try graph.addOutput(
        "\(level).boxes", graph.convolution("\(level).boxes", tower, outputChannels: 4, kernel: 1, hasBias: true))
    }
    let shapes = graph.outputs.map { "\($0.name) \(graph[$0.node].shape)" }
    #expect(shapes == ["p3.classes 16x24x5", "p3.boxes 16x24x4", "p4.classes 8x12x5", "p4.boxes 8x12x4"])
    #expect(graph.consumers()[merged.index].count == 1 && graph.consumers()[top.index].count == 2)
  }

  @Test("what does not fit is refused with the node's name and both values")
  func refusals() throws {
    var graph = try small()
    let wide = try graph.convolution("wide", graph.input, outputChannels: 6, kernel: 1)
    let input = graph.input
    let refused: [(String, (inout Graph) throws -> Void)] = [
      ("sum: error: cannot add 9x8x4 and 9x8x6", { _ = try $0.add("sum", input, wide) }),
      ("p: error: a 10x10 window", { _ = try $0.maxPool("p", input, kernel: 10, stride: 1) }),
      ("exists already", { _ = try $0.relu("wide", input) }),
      ("fc: error: linear reads a 1x1 map, not 9x8x4", { _ = try $0.linear("fc", input, outputChannels: 2) }),
      ("padding 2 exceeds half of kernel 3", { _ = try $0.maxPool("p", input, kernel: 3, stride: 1, padding: 2) }),
      ("a 12x12 window", { _ = try $0.convolution("c", input, outputChannels: 1, kernel: 12, padding: 1) }),
      ("factor 0 is below 1", { _ = try $0.upsampleNearest("u", input, factor: 0) }),
      ("momentum 2.0", { _ = try $0.batchNorm("b", input, momentum: 2) }),
      ("one input, made by its initializer", { _ = try $0.add(.input, name: "i", inputs: [input]) }),
      ("reads 2 inputs, not 1", { _ = try $0.add(.add, name: "a", inputs: [input]) }),
    ]
    for (message, build) in refused {
      var copy = graph
      #expect { try build(&copy) } throws: { "\($0)".contains(message) }
      #expect(copy == graph)
    }
    try graph.addOutput("y", wide)
    #expect { try graph.addOutput("y", input) } throws: { ($0 as? GraphError)?.code == .duplicateName }
    #expect { try Graph(input: TensorShape(height: 0, width: 1, channels: 1)) } throws: { "\($0)".contains("0x1x1") }
  }
}
