// cpuid, read as Intel's manual prescribes: the instructions and the operating system's support for their registers.

#if arch(x86_64)
  internal import CIntrinsics

  /// What `InstructionSet` needs to know about the processor.
  struct ProcessorFeatures {
    /// AVX2, FMA, F16C and ymm registers saved by the system.
    let avx2: Bool
    /// AVX-512 F, BW, CD, DQ, VL and zmm and mask registers saved by the system.
    let avx512: Bool
    /// AVX-512 VNNI.
    let vnni: Bool

    static let current = ProcessorFeatures()

    private init() {
      let leaf1 = temper_cpuid(1, 0)
      let leaf7 = temper_cpuid(7, 0)
      func has(_ register: UInt32, _ bits: UInt32...) -> Bool { bits.allSatisfy { register >> $0 & 1 == 1 } }
      // Bit 27 of ecx, OSXSAVE, says that xgetbv may be asked.
      let saved = has(leaf1.ecx, 27) ? temper_xgetbv() : 0
      let (ymm, zmm): (UInt64, UInt64) = (0x6, 0xE6)
      let fma: UInt32 = 12
      let avx: UInt32 = 28
      let f16c: UInt32 = 29
      avx2 = saved & ymm == ymm && has(leaf1.ecx, fma, avx, f16c) && has(leaf7.ebx, 5)
      avx512 = saved & zmm == zmm && has(leaf7.ebx, 16, 17, 28, 30, 31)
      vnni = has(leaf7.ecx, 11)
    }
  }
#endif
