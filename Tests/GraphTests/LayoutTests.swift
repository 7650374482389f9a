// Flat layouts, weight orders and named tensors.

import Graph
import Testing

@Suite("Parameter layout")
struct LayoutTests {
  private func graph() throws -> Graph {
    try ResNet.build(
      depth: 10, width: 0.125, stem: .small(stride: 1), input: TensorShape(height: 8, width: 8, channels: 3),
      classes: 5)
  }

  @Test("entries stand in graph order, start at multiples of 16 and do not overlap")
  func offsets() throws {
    let layout = ParameterLayout(try graph())
    #expect(layout.parameters.prefix(3).map(\.parameter.name) == ["conv1.weight", "bn1.weight", "bn1.bias"])
    #expect(layout.parameters.prefix(3).map(\.offset) == [0, 224, 240])  // 216 and 8 values
    #expect(layout.parameters.map(\.offset).allSatisfy { $0.isMultiple(of: 16) })
    for (entry, next) in zip(layout.parameters, layout.parameters.dropFirst()) {
      #expect(entry.range.upperBound <= next.offset && next.offset - entry.range.upperBound < 16)
    }
    #expect(layout.parameterElementCount.isMultiple(of: 16) && layout.bufferElementCount.isMultiple(of: 16))
    #expect(layout.buffer(named: "bn1.running_var")?.offset == 16)
    #expect(layout.parameter(named: "fc.running_var") == nil)
  }

  @Test("weight decay is for weights only; fans are torchvision's")
  func kinds() throws {
    let parameters = try graph().parameters
    #expect(parameters.filter(\.hasWeightDecay).allSatisfy { $0.kind == .weight && $0.torchShape.count > 1 })
    let conv = try #require(parameters.first)
    #expect(conv.fanIn == 27 && conv.fanOut == 72)
    #expect(parameters.last.map { "\($0.name) \($0.kind)" } == "fc.bias bias")
  }

  @Test("kernel order is panels of 16 outputs, and torch order comes back", arguments: [1, 3, 16, 17, 40])
  func weightOrder(outputs: Int) {
    let order = WeightOrder(torchShape: [outputs, 2, 3, 3])
    let torch = Array(0..<order.elementCount)
    let kernel = order.kernelOrder(fromTorch: torch)
    for output in 0..<outputs {
      for input in 0..<2 {
        for (row, column) in [(0, 0), (0, 2), (1, 1), (2, 0)] {
          let first = output / 16 * 16
          let kernelIndex = first * 18 + ((row * 3 + column) * 2 + input) * min(16, outputs - first) + output % 16
          #expect(kernel[kernelIndex] == ((output * 2 + input) * 3 + row) * 3 + column)
        }
      }
    }
    #expect(order.torchOrder(fromKernel: kernel) == torch)
    let linear = WeightOrder(torchShape: [outputs, 3])
    #expect(
      linear.torchOrder(fromKernel: linear.kernelOrder(fromTorch: Array(0..<3 * outputs))) == Array(0..<3 * outputs))
    #expect(WeightOrder(torchShape: [4]).kernelOrder(fromTorch: [1, 2, 3, 4]) == [1, 2, 3, 4])
  }

  @Test("vectors become a state dict and come back bit for bit, padding zero")
  func stateDict() throws {
    let layout = ParameterLayout(try graph())
    var parameters = [Float](repeating: 0, count: layout.parameterElementCount)
    for entry in layout.parameters { for index in entry.range { parameters[index] = Float(index) + 0.5 } }
    var buffers = [Float](repeating: 0, count: layout.bufferElementCount)
    for entry in layout.buffers { for index in entry.range { buffers[index] = -Float(index) } }
    var tensors = layout.tensors(parameters: parameters, buffers: buffers)
    tensors.append(NamedTensor(name: "bn1.num_batches_tracked", shape: [], int64s: [7]))
    let back = try layout.vectors(from: tensors.reversed())
    #expect(back.parameters == parameters && back.buffers == buffers)
  }

  @Test("a missing tensor, a wrong shape and a wrong type are named")
  func wrongTensors() throws {
    let layout = ParameterLayout(try graph())
    let tensors = layout.tensors(
      parameters: [Float](repeating: 0, count: layout.parameterElementCount),
      buffers: [Float](repeating: 0, count: layout.bufferElementCount))
    #expect { try layout.vectors(from: tensors.filter { $0.name != "bn1.bias" }) } throws: {
      "\($0)".contains("bn1.bias: error: the model needs tensor")
    }
    func replacing(_ name: String, _ tensor: NamedTensor) -> [NamedTensor] {
      tensors.map { $0.name == name ? tensor : $0 }
    }
    let transposed = NamedTensor(name: "fc.weight", shape: [64, 5], floats: [Float](repeating: 0, count: 320))
    #expect { try layout.vectors(from: replacing("fc.weight", transposed)) } throws: {
      "\($0)".contains("fc.weight: error: tensor has shape [64, 5]; the model needs [5, 64]")
    }
    let integers = NamedTensor(name: "fc.bias", shape: [5], int64s: [1, 2, 3, 4, 5])
    #expect { try layout.vectors(from: replacing("fc.bias", integers)) } throws: {
      "\($0)".contains("fc.bias: error: holds int64; expected float32 or float16")
    }
  }
}

@Suite("Named tensor")
struct NamedTensorTests {
  @Test("values are stored little-endian and come back")
  func roundTrip() throws {
    let tensor = NamedTensor(name: "t", shape: [2], floats: [1, -2.5])
    #expect(tensor.bytes == [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0])
    #expect(try tensor.floats() == [1, -2.5] && tensor.elementCount == 2)
    #expect(try NamedTensor(name: "i", shape: [3], int8s: [-1, 0, 127]).int8s() == [-1, 0, 127])
    #expect(try NamedTensor(name: "u", shape: [1, 1], uint64s: [.max]).uint64s() == [.max])
    #expect(try NamedTensor(name: "e", shape: [0, 3], floats: []).floats() == [])
  }

  @Test("half floats read as floats")
  func half() throws {
    let tensor = try NamedTensor(name: "h", shape: [2], elementType: .float16, bytes: [0, 0x3c, 0, 0xc0])
    #expect(try tensor.floats() == [1, -2])
  }

  @Test("bytes that do not fit the shape, negative extents and overflowing shapes are refused")
  func wrongBytes() {
    for shape in [[3], [-1, -1], [Int.max, 2], [1 << 32, 1 << 31]] {
      #expect { try NamedTensor(name: "t", shape: shape, elementType: .float32, bytes: [0, 0, 0, 0]) } throws: {
        ($0 as? GraphError)?.code == .invalidTensor
      }
    }
  }
}
