// Random numbers without state: value i is a hash of (key, i), and the key is a hash of what the number is for.
//
// The hash is SplitMix64's finalizer (Stafford's mix 13) over a Weyl sequence, as in java.util.SplittableRandom. Keys
// are chained through the same finalizer, so (seed, epoch, sample, purpose) and its permutations give unrelated
// streams.

/// A stateless stream of random numbers keyed by a purpose and coordinates.
///
/// Equal keys give equal numbers on every machine, thread and worker.
public struct CounterRandom: Sendable, Hashable {
  /// What the numbers are for; two purposes never share numbers.
  public struct Purpose: Sendable, Hashable {
    let number: UInt64

    /// Makes a purpose; use numbers from 100 up outside this module.
    public init(_ number: UInt64) { self.number = number }

    /// Order of samples.
    public static let sampleOrder = Purpose(1)
    /// Changes of training images.
    public static let augmentation = Purpose(2)
    /// Starting weights.
    public static let initialization = Purpose(3)
    /// Choice of calibration images.
    public static let calibration = Purpose(4)
    /// Classes of the synthetic strip.
    public static let stripClass = Purpose(5)
    /// Pixels of the synthetic strip.
    public static let stripImage = Purpose(6)
  }

  private let key: UInt64

  /// Makes the stream of a seed, a purpose and up to four coordinates such as epoch, step, slot and sample.
  public init(
    seed: UInt64, _ purpose: Purpose, _ first: Int = 0, _ second: Int = 0, _ third: Int = 0, _ fourth: Int = 0
  ) {
    var key = Self.mix(seed &+ Self.weyl)
    key = Self.mix(key ^ purpose.number &* Self.weyl)
    key = Self.chain(key, first)
    key = Self.chain(key, second)
    key = Self.chain(key, third)
    self.key = Self.chain(key, fourth)
  }

  /// 64 random bits at a counter.
  public func bits(_ counter: Int) -> UInt64 {
    Self.mix(key &+ UInt64(bitPattern: Int64(counter)) &* Self.weyl)
  }

  /// A number in [0, 1) at a counter: 24 random bits, exact in Float.
  public func float(_ counter: Int) -> Float {
    Float(bits(counter) >> 40) * 0x1p-24
  }

  /// A number in [0, 1) at a counter: 53 random bits.
  public func double(_ counter: Int) -> Double {
    Double(bits(counter) >> 11) * 0x1p-53
  }

  /// An integer in 0..<bound at a counter; the bias is below bound / 2^64.
  public func integer(_ counter: Int, below bound: Int) -> Int {
    precondition(bound > 0, "an integer below \(bound)")
    return Int(bits(counter).multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// A standard normal number at a counter.
  ///
  /// Box and Muller's transform with this module's own logarithm and sine, so every machine gives the same bits.
  /// Counter i uses bits 2i and 2i + 1: do not mix with the other functions.
  public func normal(_ counter: Int) -> Double {
    let radius = (-2 * ExactMath.log(1 - double(2 * counter))).squareRoot()
    return radius * ExactMath.cosine(turns: double(2 * counter + 1))
  }

  static let weyl: UInt64 = 0x9E37_79B9_7F4A_7C15

  private static func chain(_ key: UInt64, _ coordinate: Int) -> UInt64 {
    mix((key &+ weyl) ^ UInt64(bitPattern: Int64(coordinate)))
  }

  /// The finalizer: a bijection of 64 bits that no bit passes unchanged.
  @inlinable
  package static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
