// Which instruction set this process uses, chosen once.

internal import CIntrinsics
@_exported public import KernelsInterface

#if os(Linux)
  internal import Glibc
#endif

#if arch(x86_64)
  internal import KernelsAVX2
  internal import KernelsAVX512
  internal import KernelsVNNI
#else
  internal import KernelsPortable
#endif

/// The kernels for this processor, chosen at first use; every call goes through here.
public let kernels: any KernelSet.Type = InstructionSet.current.kernels

/// What this processor can do at most, measured by loops of the same instruction set as `kernels`.
public let peakKernels: any PeakKernels.Type = InstructionSet.current.peakKernels

/// A level of vector instructions that `Kernels` has code for, in ascending order.
public enum InstructionSet: String, CaseIterable, Sendable, Comparable {
  /// Whatever the compiler makes of vectors of 16, on processors other than x86-64 (NEON on ARM).
  case portable
  /// AVX2 with FMA and F16C.
  case avx2
  /// AVX-512 F, BW, CD, DQ and VL.
  case avx512
  /// AVX-512 with the integer dot products of VNNI.
  case avx512vnni

  /// The level that this process uses: the best one, or what TEMPER_INSTRUCTION_SET asks for if that can run here.
  public static let current: InstructionSet = decision.level

  /// One line on what was chosen and why, for logs and `temper doctor`.
  public static let selection: String = decision.reason

  /// The levels that can run here, ascending.
  ///
  /// Empty on an x86-64 without AVX2, FMA and F16C, where no kernel may be called.
  public static let supported: [InstructionSet] = allCases.filter(\.runsHere)

  /// What to tell the user if no kernel can run here, else nil.
  ///
  /// Executables ask before they do anything else.
  public static let refusal: String? =
    supported.isEmpty
    ? "this processor lacks AVX2, FMA or F16C, which Temper needs on x86-64 (Intel since Haswell, AMD since Zen)"
    : nil

  /// Ascending order of capability.
  public static func < (left: InstructionSet, right: InstructionSet) -> Bool { left.rank < right.rank }

  private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

extension InstructionSet {
  /// The environment variable that overrides the choice, for tests.
  package static let environmentVariable = "TEMPER_INSTRUCTION_SET"

  private static let decision: (level: InstructionSet, reason: String) = choose(
    request: getenv(environmentVariable).map { String(cString: $0) }, supported: supported)

  /// The rule behind `current`: a request that can run here wins, else the best level.
  package static func choose(
    request: String?, supported: [InstructionSet]
  ) -> (level: InstructionSet, reason: String) {
    guard let best = supported.last else { return (.portable, refusal ?? "no instruction set") }
    guard let request, !request.isEmpty else { return (best, "\(best.rawValue) (best of this processor)") }
    let names = supported.map(\.rawValue).joined(separator: ", ")
    guard let level = InstructionSet(rawValue: request), supported.contains(level) else {
      return (
        best, "\(best.rawValue) (\(environmentVariable)=\(request) cannot run here; this processor has \(names))"
      )
    }
    return (level, "\(level.rawValue) (asked for by \(environmentVariable))")
  }

  #if arch(x86_64)
    /// The kernels of this level.
    ///
    /// Calling them faults where the level is not in `supported`.
    package var kernels: any KernelSet.Type {
      switch self {
      case .portable, .avx2: KernelsAVX2.Body.self
      case .avx512: KernelsAVX512.Body.self
      case .avx512vnni: KernelsVNNI.Body.self
      }
    }

    /// The yardstick of this level, as `kernels`.
    package var peakKernels: any PeakKernels.Type {
      switch self {
      case .portable, .avx2: KernelsAVX2.Body.self
      case .avx512: KernelsAVX512.Body.self
      case .avx512vnni: KernelsVNNI.Body.self
      }
    }

    private var runsHere: Bool {
      let features = ProcessorFeatures.current
      return switch self {
      case .portable: false
      case .avx2: features.avx2
      case .avx512: features.avx2 && features.avx512
      case .avx512vnni: features.avx2 && features.avx512 && features.vnni
      }
    }
  #else
    /// The kernels of this level.
    package var kernels: any KernelSet.Type { KernelsPortable.Body.self }
    /// The yardstick of this level.
    package var peakKernels: any PeakKernels.Type { KernelsPortable.Body.self }

    private var runsHere: Bool { self == .portable }
  #endif
}
