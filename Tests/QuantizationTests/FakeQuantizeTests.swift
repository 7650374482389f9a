// Fake-quantize, scales and observers against torch.ao.

import Graph
import Quantization
import Testing

@Suite("Against torch.ao")
struct TorchTests {
  @Test("fake-quantize gives torch's values and gradient masks, half steps and huge values included")
  func fakeQuantize() throws {
    for golden in try Golden.load().fakeQuantize {
      let parameters = try QuantizationParameters(
        scale: golden.scale, zeroPoint: golden.zeroPoint, range: golden.low...golden.high)
      for (index, value) in golden.input.enumerated() {
        let (output, isInRange) = parameters.fakeQuantize(value)
        #expect(output == golden.output[index], "\(value) at scale \(golden.scale)")
        #expect(isInRange == (golden.mask[index] == 1), "\(value) at scale \(golden.scale)")
      }
    }
  }

  @Test("NaN becomes the zero point and is out of range")
  func notANumber() throws {
    let parameters = try QuantizationParameters(absMax: 1, range: .int8)
    #expect(parameters.quantize(.nan) == (0, false))
    #expect(parameters.quantize(-.infinity) == (-128, false) && parameters.quantize(.infinity) == (127, false))
  }

  @Test("min-max and moving-average observers and their scales have torch's bits after every batch")
  func observers() throws {
    for golden in try Golden.load().observers {
      let moving = Observer.movingAverageMinMax(constant: golden.constant)
      var movingState = moving.initialState
      var extremes = Observer.minMax.initialState
      for step in golden.steps {
        movingState = moving.updated(movingState, minimum: step.minimum, maximum: step.maximum)
        extremes = Observer.minMax.updated(extremes, minimum: step.minimum, maximum: step.maximum)
        #expect(movingState.minimum == step.movingMinimum && movingState.maximum == step.movingMaximum)
        #expect(movingState.scale(for: .narrowInt8) == step.movingScale)
        #expect(extremes.minimum == step.minMaxMinimum && extremes.maximum == step.minMaxMaximum)
        #expect(extremes.scale(for: .narrowInt8) == step.minMaxScale)
      }
    }
  }

  @Test("per-channel scales and fake-quantized weights are torch's for -127...127, an all-zero channel included")
  func perChannel() throws {
    let golden = try Golden.load().perChannel
    let order = WeightOrder(torchShape: golden.shape)
    let weights = QuantizedWeights(
      quantizing: order.kernelOrder(fromTorch: golden.weights), order: order, quantization: WeightQuantization())
    #expect(weights.scales == golden.scales)
    #expect(order.torchOrder(fromKernel: weights.dequantized) == golden.output)
    #expect(weights.scales[3] == QuantizationParameters.smallestScale)
  }

  @Test("by design the scale of -128...127 is absmax / 127, where torch divides by 127.5")
  func fullRangeScale() {
    let state = ObserverState(minimum: -2, maximum: 1, batchCount: 1)
    #expect(state.scale(for: .int8) == Float(2) / 127)
    #expect(state.scale(for: .int8) != Float(2) / 127.5)
  }
}

@Suite("Parameters and observers")
struct ParameterTests {
  @Test(
    "scale is absmax / limit, at least 2^-23",
    arguments: [
      (Float(127), Int32(127), Float(1)), (0, 127, 0x1p-23), (1e-30, 127, 0x1p-23), (7, 7, 1), (.nan, 127, 0x1p-23),
    ])
  func scale(_ absMax: Float, _ limit: Int32, _ expected: Float) {
    #expect(QuantizationParameters.scale(forAbsMax: absMax, limit: limit) == expected)
  }

  @Test("ranges of 2 to 8 bits are symmetric, and other widths are refused")
  func ranges() throws {
    #expect(try IntegerRange(bits: 2, narrow: true).integers == -1...1)
    #expect(try IntegerRange(bits: 4).integers == -8...7)
    #expect(try IntegerRange(bits: 8) == .int8)
    #expect(try IntegerRange(bits: 8, narrow: true) == .narrowInt8)
    for bits in [1, 9] {
      #expect { try IntegerRange(bits: bits) } throws: { "\($0)".contains("\(bits) bits; integers take 2...8") }
    }
  }

  @Test(
    "a batch that is not finite or empty leaves the state as it was",
    arguments: [
      Observer.minMax, .movingAverageMinMax(constant: 0.01),
    ])
  func notFinite(observer: Observer) {
    let state = observer.updated(observer.initialState, minimum: -1, maximum: 2)
    #expect(state == ObserverState(minimum: -1, maximum: 2, batchCount: 1))
    #expect(observer.updated(state, minimum: .nan, maximum: 1) == state)
    #expect(observer.updated(state, minimum: -1, maximum: .infinity) == state)
    #expect(observer.updated(state, minimum: .infinity, maximum: -.infinity) == state)
  }

  @Test("one-sided ranges count zero in: the magnitude of 2...5 is 5, of -5 ... -2 too")
  func absMax() {
    #expect(ObserverState(minimum: 2, maximum: 5, batchCount: 1).absMax == 5)
    #expect(ObserverState(minimum: -5, maximum: -2, batchCount: 1).absMax == 5)
    #expect(ObserverState.initial.absMax == 0)
  }

  @Test("scales that are not positive and finite are refused", arguments: [0, -1, Float.infinity, .nan])
  func wrongScale(scale: Float) {
    #expect { try QuantizationParameters(scale: scale, zeroPoint: 0, range: -127...127) } throws: {
      ($0 as? QuantizationError)?.code == .invalidArgument
    }
  }
}
