// ResNet builders against torchvision: names, shapes (Golden/make_golden.py) and published counts; refusals.

import Foundation
import Graph
import Testing

@Suite("ResNet builder")
struct ResNetTests {
  @Test("ResNet-18 has torchvision's 11,689,512 parameters and 1.814 G multiply-accumulates at 224x224")
  func parameterCount() throws {
    let graph = try ResNet.build(input: TensorShape(height: 224, width: 224, channels: 3), classes: 1000)
    #expect(graph.parameters.reduce(0) { $0 + $1.elementCount } == 11_689_512)
    #expect(graph.macCount == 1_814_073_344)
  }

  @Test("names, order and shapes of ResNet-18's tensors and modules are torchvision's")
  func torchvisionNames() throws {
    let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "Golden/resnet18.txt")
    let lines = try String(contentsOf: golden, encoding: .utf8).split(separator: "\n").map(String.init)
    let graph = try ResNet.build(input: TensorShape(height: 96, width: 80, channels: 3), classes: 7)
    var tensors = graph.parameters.map { (node: $0.node, text: Self.line("tensor", $0.name, $0.torchShape)) }
    tensors += graph.buffers.map { (node: $0.node, text: Self.line("tensor", $0.name, [$0.elementCount])) }
    #expect(tensors.map(\.text).sorted() == lines.filter { $0.hasPrefix("tensor") }.sorted())
    let modules = graph.nodes.filter { node in
      switch node.operation {
      case .input, .relu, .add: false
      default: true
      }
    }
    let moduleLines = modules.map {
      Self.line("module", $0.name, [$0.shape.channels, $0.shape.height, $0.shape.width])
    }
    #expect(moduleLines == lines.filter { $0.hasPrefix("module") })
  }

  @Test("ResNet-10 of width 0.25 and small stem has 16 to 128 channels and 308,538 parameters")
  func smallNet() throws {
    let graph = try ResNet.build(
      depth: 10, width: 0.25, stem: .small(stride: 1), input: TensorShape(height: 28, width: 28, channels: 1),
      classes: 10)
    // Stem 144 + 32; stages 4,672, 14,528, 57,728, 230,144; head 1,290.
    #expect(graph.parameters.reduce(0) { $0 + $1.elementCount } == 308_538)
    #expect(graph.node(named: "maxpool") == nil)
    #expect(graph.node(named: "avgpool").map { graph[$0.inputs[0]].shape.description } == "4x4x128")
  }

  @Test("the residual add reads the main branch first and the identity second")
  func addOrder() throws {
    let graph = try ResNet.build(input: TensorShape(height: 64, width: 64, channels: 3), classes: 2)
    let inputs = ["layer1.0.add", "layer2.0.add"].map { name in
      graph.node(named: name).map { $0.inputs.map { graph[$0].name } }
    }
    #expect(inputs == [["layer1.0.bn2", "maxpool"], ["layer2.0.bn2", "layer2.0.downsample.1"]])
  }

  @Test("a depth, width or image that cannot be built is refused with its value")
  func refusals() {
    let shape = TensorShape(height: 32, width: 32, channels: 3)
    #expect { try ResNet.build(depth: 34, input: shape, classes: 2) } throws: { "\($0)".contains("34") }
    #expect { try ResNet.build(width: -1, input: shape, classes: 2) } throws: { "\($0)".contains("-1.0") }
    #expect { try ResNet.build(width: .nan, input: shape, classes: 2) } throws: { "\($0)".contains("nan") }
    #expect { try ResNet.build(input: shape, classes: 0) } throws: { "\($0)".contains("fc: error: 0 output") }
    #expect { try ResNet.build(stem: .small(stride: 0), input: shape, classes: 2) } throws: {
      "\($0)".contains("conv1: error: kernel 3 and stride 0")
    }
  }

  private static func line(_ kind: String, _ name: String, _ extents: [Int]) -> String {
    ([kind, name] + extents.map { "\($0)" }).joined(separator: " ")
  }
}
