// ResNet builders: counts against torchvision's published ones, refusals.

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

  @Test("ResNet-10 of width 0.25 and small stem has 16 to 128 channels and about 0.31 M parameters")
  func smallNet() throws {
    let graph = try ResNet.build(
      depth: 10, width: 0.25, stem: .small(stride: 1), input: TensorShape(height: 28, width: 28, channels: 1),
      classes: 10)
    // Stem 144 + 32; stages 4,672, 14,528, 57,728, 230,144; head 1,290.
    #expect(graph.parameters.reduce(0) { $0 + $1.elementCount } == 308_538)
    #expect(graph.node(named: "maxpool") == nil)
    #expect(graph.node(named: "avgpool").map { graph[$0.inputs[0]].shape.description } == "4x4x128")
  }

  @Test("a depth, width or image that cannot be built is refused with its value")
  func refusals() {
    let shape = TensorShape(height: 32, width: 32, channels: 3)
    #expect { try ResNet.build(depth: 34, input: shape, classes: 2) } throws: { "\($0)".contains("34") }
    #expect { try ResNet.build(width: -1, input: shape, classes: 2) } throws: { "\($0)".contains("-1.0") }
    #expect { try ResNet.build(width: .nan, input: shape, classes: 2) } throws: { "\($0)".contains("nan") }
    #expect { try ResNet.build(input: shape, classes: 0) } throws: { "\($0)".contains("fc: error: 0 output") }
  }
}
