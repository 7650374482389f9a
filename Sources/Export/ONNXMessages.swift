// Short constructors for the generated ONNX messages.

import Foundation

extension Onnx_NodeProto {
  static func make(
    _ type: String, name: String, inputs: [String], output: String, _ attributes: [Onnx_AttributeProto] = []
  ) -> Onnx_NodeProto {
    var node = Onnx_NodeProto()
    node.opType = type
    node.name = name
    node.input = inputs
    node.output = [output]
    node.attribute = attributes
    return node
  }
}

extension Onnx_AttributeProto {
  static func int(_ name: String, _ value: Int) -> Onnx_AttributeProto {
    var attribute = Onnx_AttributeProto()
    attribute.name = name
    attribute.type = .int
    attribute.i = Int64(value)
    return attribute
  }

  static func ints(_ name: String, _ values: [Int]) -> Onnx_AttributeProto {
    var attribute = Onnx_AttributeProto()
    attribute.name = name
    attribute.type = .ints
    attribute.ints = values.map { Int64($0) }
    return attribute
  }

  static func string(_ name: String, _ value: String) -> Onnx_AttributeProto {
    var attribute = Onnx_AttributeProto()
    attribute.name = name
    attribute.type = .string
    attribute.s = Data(value.utf8)
    return attribute
  }
}

extension Onnx_TensorProto {
  static func floats(_ name: String, dimensions: [Int], _ values: [Float]) -> Onnx_TensorProto {
    make(name, dimensions, .float, values.withUnsafeBytes { Data($0) })
  }

  static func int8s(_ name: String, dimensions: [Int], _ values: [Int8]) -> Onnx_TensorProto {
    make(name, dimensions, .int8, values.withUnsafeBytes { Data($0) })
  }

  private static func make(_ name: String, _ dimensions: [Int], _ type: DataType, _ bytes: Data) -> Onnx_TensorProto {
    var tensor = Onnx_TensorProto()
    tensor.name = name
    tensor.dims = dimensions.map { Int64($0) }
    tensor.dataType = Int32(type.rawValue)
    tensor.rawData = bytes
    return tensor
  }
}

extension Onnx_ValueInfoProto {
  /// A float32 value whose first dimension is the dynamic batch.
  static func value(_ name: String, dimensions: [Int]) -> Onnx_ValueInfoProto {
    var shape = Onnx_TensorShapeProto()
    var batch = Onnx_TensorShapeProto.Dimension()
    batch.dimParam = ONNXExporter.batchDimension
    shape.dim =
      [batch]
      + dimensions.map { extent in
        var dimension = Onnx_TensorShapeProto.Dimension()
        dimension.dimValue = Int64(extent)
        return dimension
      }
    var info = Onnx_ValueInfoProto()
    info.name = name
    info.type.tensorType.elemType = Int32(Onnx_TensorProto.DataType.float.rawValue)
    info.type.tensorType.shape = shape
    return info
  }
}
