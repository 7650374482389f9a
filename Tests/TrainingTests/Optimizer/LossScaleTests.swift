import JobSpec
import Testing
import Training

@Suite struct LossScaleTests {
  @Test("the scale doubles after the growth interval of finite steps and halves at once")
  func growthAndBackOff() {
    var scale = LossScale(value: 1024, goodSteps: 0)
    for _ in 0..<3 { scale.update(gradientIsFinite: true, growthInterval: 3) }
    #expect(scale == LossScale(value: 2048, goodSteps: 0))
    scale.update(gradientIsFinite: true, growthInterval: 3)
    scale.update(gradientIsFinite: false, growthInterval: 3)
    #expect(scale == LossScale(value: 1024, goodSteps: 0))
  }

  @Test("a scale that had to halve beyond 2^-14 says that training diverged")
  func exhaustion() {
    var scale = LossScale(value: 0x1p-13, goodSteps: 5)
    scale.update(gradientIsFinite: false, growthInterval: 3)
    #expect(!scale.isExhausted)
    scale.update(gradientIsFinite: false, growthInterval: 3)
    #expect(scale.isExhausted)
  }

  @Test("growth stops at 2^24")
  func ceiling() {
    var scale = LossScale(value: 0x1p24, goodSteps: 0)
    scale.update(gradientIsFinite: true, growthInterval: 1)
    #expect(scale.value == 0x1p24)
  }
}
