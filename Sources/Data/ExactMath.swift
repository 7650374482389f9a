// Elementary functions whose bits do not depend on the machine.
//
// The C library's sin, cos, exp and log differ between machines in the last place, which would give every machine
// another synthetic strip and other starting weights. Here only +, -, *, / and bit operations on Double are used, each
// exactly rounded by IEEE 754, in one written order. Errors stay below 1e-13 relative (absolute for the cosine), by
// comparison with the C library in Tests/DataTests; nobody here needs the last bit, everybody needs the same one.

enum ExactMath {
  static let pi = 3.141592653589793
  private static let ln2 = 0.6931471805599453

  /// e to the x, for -700 <= x <= 700.
  ///
  /// x = n ln 2 + r with |r| <= ln 2 / 2; Taylor's series of e^r to r^13 (next term 5e-18), scaled by 2^n.
  static func exp(_ x: Double) -> Double {
    let n = (x / ln2).rounded(.toNearestOrEven)
    // ln 2 in two parts: the first has 32 trailing zero bits, so n times it is exact.
    let r = (x - n * 0x1.62E42FEEp-1) - n * 1.9082149292705877e-10
    var sum = 1.0
    for k in stride(from: 13.0, through: 1, by: -1) { sum = 1 + sum * r / k }
    return sum * Double(sign: .plus, exponent: Int(n), significand: 1)
  }

  /// Natural logarithm of a normal x > 0.
  ///
  /// x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172; series to s^21.
  static func log(_ x: Double) -> Double {
    var exponent = Double(x.exponent)
    var m = x.significand
    if m > 1.4142135623730951 {
      m /= 2
      exponent += 1
    }
    let s = (m - 1) / (m + 1)
    let square = s * s
    var sum = 0.0
    for k in stride(from: 21.0, through: 1, by: -2) { sum = sum * square + 1 / k }
    return exponent * ln2 + 2 * s * sum
  }

  /// Cosine of a number of turns (1 turn = 2 pi), for |turns| < 2^50.
  ///
  /// The turn is reduced exactly to [-1/8, 1/8] around a quarter turn; Taylor's series of sine and cosine to x^16.
  static func cosine(turns: Double) -> Double {
    let fraction = turns - turns.rounded(.down)
    let quarter = (fraction * 4).rounded(.toNearestOrEven)
    let x = (fraction - quarter / 4) * (2 * pi)
    switch Int(quarter) & 3 {
    case 0: return cosineSeries(x)
    case 1: return -sineSeries(x)
    case 2: return -cosineSeries(x)
    default: return sineSeries(x)
    }
  }

  /// Sine of a number of turns.
  static func sine(turns: Double) -> Double { cosine(turns: turns - 0.25) }

  private static func cosineSeries(_ x: Double) -> Double {
    let square = x * x
    var sum = 1.0
    for k in stride(from: 16.0, through: 2, by: -2) { sum = 1 - sum * square / (k * (k - 1)) }
    return sum
  }

  private static func sineSeries(_ x: Double) -> Double {
    let square = x * x
    var sum = 1.0
    for k in stride(from: 17.0, through: 3, by: -2) { sum = 1 - sum * square / (k * (k - 1)) }
    return x * sum
  }
}
