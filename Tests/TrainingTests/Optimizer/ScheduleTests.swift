// Every schedule through the same table, then the shape of each from its formula.

import Foundation
import JobSpec
import Testing

@testable import Training

@Suite struct ScheduleTests {
  typealias Schedule = JobSpec.Training.Schedule

  static let all: [Schedule] = Schedule.Method.allCases.flatMap { method in
    [0.0, 1.5].map { warmup in
      var schedule = Schedule()
      schedule.method = method
      schedule.warmupEpochs = warmup
      schedule.finalShare = 0.01
      return schedule
    }
  }

  @Test("a learning rate is positive, at most the peak, and reaches the peak", arguments: all)
  func range(_ schedule: Schedule) {
    let rates = Self.rates(schedule, totalSteps: 100)
    #expect(rates.allSatisfy { $0 > 0 && $0 <= 0.5 })
    #expect(rates.max() == 0.5)
  }

  @Test("a job of one step has a learning rate", arguments: all)
  func oneStep(_ schedule: Schedule) {
    #expect(Self.rates(schedule, totalSteps: 1).allSatisfy { $0.isFinite && $0 > 0 })
  }

  @Test("warm-up rises in equal parts, the cosine falls to its share with the last step")
  func cosine() {
    var schedule = Schedule()
    schedule.method = .cosine
    schedule.warmupEpochs = 2
    schedule.finalShare = 0.1
    let rates = Self.rates(schedule, totalSteps: 100)
    for step in 0..<20 { #expect(abs(rates[step] - 0.5 * Double(step + 1) / 20) < 1e-15) }
    for step in 20..<100 {
      let t = Double(step - 20) / 79
      let expected = 0.5 * (0.1 + 0.9 * (1 + Foundation.cos(.pi * t)) / 2)
      #expect(abs(rates[step] - expected) < 1e-14)
    }
    #expect(abs(rates[99] - 0.05) < 1e-15)
  }

  @Test("one-cycle starts at its initial share, peaks after its rising share and ends at its final share")
  func oneCycle() {
    var schedule = Schedule()
    schedule.method = .oneCycle
    schedule.initialShare = 0.04
    schedule.risingShare = 0.3
    schedule.finalShare = 0.001
    let rates = Self.rates(schedule, totalSteps: 100)
    #expect(abs(rates[0] - 0.02) < 1e-15)
    #expect(rates[30] == 0.5)
    #expect(abs(rates[99] - 0.0005) < 1e-15)
    #expect(zip(rates, rates.dropFirst()).enumerated().allSatisfy { $0 < 30 ? $1.0 < $1.1 : $1.0 > $1.1 })
  }

  @Test("the own cosine agrees with the library's to 1e-15")
  func ownCosine() {
    for step in 0...1000 {
      let t = Double(step) / 1000
      #expect(abs(LearningRateSchedule.cosine(ofHalfTurns: t) - Foundation.cos(.pi * t)) < 1e-15)
    }
  }

  private static func rates(_ schedule: Schedule, totalSteps: Int) -> [Double] {
    let schedule = LearningRateSchedule(schedule, peak: 0.5, stepsPerEpoch: 10, totalSteps: totalSteps)
    return (0..<totalSteps).map(schedule.learningRate(atStep:))
  }
}
