// Independent chains of multiply-adds in registers, to measure what a core can do at most.
//
// A multiply-add takes 4 or 5 cycles and two start per cycle, so 10 chains keep both ports busy; 12 leave room. AVX2 holds
// 12 chains of 8 lanes in its 16 registers, as 6 chains of sixteen. The chains start from memory, each with values of its
// own, so that the compiler can neither merge nor foresee them.

internal import CIntrinsics
internal import KernelsInterface

extension Body: PeakKernels {
  package static func multiplyAddChains(_ values: UnsafeMutablePointer<Float>, repetitions: Int) -> Int {
    let (a, b) = (load(values), load(values + 16))
    let chains = values + 32
    var (c0, c1, c2) = (load(chains), load(chains + 16), load(chains + 32))
    var (c3, c4, c5) = (load(chains + 48), load(chains + 64), load(chains + 80))
    #if AVX512
      var (c6, c7, c8) = (load(chains + 96), load(chains + 112), load(chains + 128))
      var (c9, c10, c11) = (load(chains + 144), load(chains + 160), load(chains + 176))
    #endif
    for _ in 0..<repetitions {
      c0 = fma(a, b, c0)
      c1 = fma(a, b, c1)
      c2 = fma(a, b, c2)
      c3 = fma(a, b, c3)
      c4 = fma(a, b, c4)
      c5 = fma(a, b, c5)
      #if AVX512
        c6 = fma(a, b, c6)
        c7 = fma(a, b, c7)
        c8 = fma(a, b, c8)
        c9 = fma(a, b, c9)
        c10 = fma(a, b, c10)
        c11 = fma(a, b, c11)
      #endif
    }
    store(c0, chains)
    store(c1, chains + 16)
    store(c2, chains + 32)
    store(c3, chains + 48)
    store(c4, chains + 64)
    store(c5, chains + 80)
    #if AVX512
      store(c6, chains + 96)
      store(c7, chains + 112)
      store(c8, chains + 128)
      store(c9, chains + 144)
      store(c10, chains + 160)
      store(c11, chains + 176)
      return repetitions * 12 * 16
    #else
      return repetitions * 6 * 16
    #endif
  }

  package static func dotProductChains(_ values: UnsafeMutableRawPointer, repetitions: Int) -> Int {
    #if VNNI
      let a = values.loadUnaligned(as: SIMD8<Int64>.self)
      let b = values.loadUnaligned(fromByteOffset: 64, as: SIMD8<Int64>.self)
      let chains = values + 128
      func chain(_ index: Int) -> SIMD8<Int64> {
        chains.loadUnaligned(fromByteOffset: 64 * index, as: SIMD8<Int64>.self)
      }
      var (c0, c1, c2, c3) = (chain(0), chain(1), chain(2), chain(3))
      var (c4, c5, c6, c7) = (chain(4), chain(5), chain(6), chain(7))
      var (c8, c9, c10, c11) = (chain(8), chain(9), chain(10), chain(11))
      for _ in 0..<repetitions {
        c0 = temper_dot_u8s8(c0, a, b)
        c1 = temper_dot_u8s8(c1, a, b)
        c2 = temper_dot_u8s8(c2, a, b)
        c3 = temper_dot_u8s8(c3, a, b)
        c4 = temper_dot_u8s8(c4, a, b)
        c5 = temper_dot_u8s8(c5, a, b)
        c6 = temper_dot_u8s8(c6, a, b)
        c7 = temper_dot_u8s8(c7, a, b)
        c8 = temper_dot_u8s8(c8, a, b)
        c9 = temper_dot_u8s8(c9, a, b)
        c10 = temper_dot_u8s8(c10, a, b)
        c11 = temper_dot_u8s8(c11, a, b)
      }
      func keep(_ value: SIMD8<Int64>, _ index: Int) {
        (chains + 64 * index).storeBytes(of: value, as: SIMD8<Int64>.self)
      }
      keep(c0, 0)
      keep(c1, 1)
      keep(c2, 2)
      keep(c3, 3)
      keep(c4, 4)
      keep(c5, 5)
      keep(c6, 6)
      keep(c7, 7)
      keep(c8, 8)
      keep(c9, 9)
      keep(c10, 10)
      keep(c11, 11)
      return repetitions * 12 * 64
    #else
      // Every product is of a chain's own value: what does not change would be multiplied once.
      let words = values.assumingMemoryBound(to: Int32.self)
      let (a, b, chains) = (loadWords(words), loadWords(words + 16), words + 32)
      var (c0, c1, c2) = (loadWords(chains), loadWords(chains + 16), loadWords(chains + 32))
      var (c3, c4, c5) = (loadWords(chains + 48), loadWords(chains + 64), loadWords(chains + 80))
      #if AVX512
        var (c6, c7, c8) = (loadWords(chains + 96), loadWords(chains + 112), loadWords(chains + 128))
        var (c9, c10, c11) = (loadWords(chains + 144), loadWords(chains + 160), loadWords(chains + 176))
      #endif
      for _ in 0..<repetitions {
        c0 = temper_dot_pairs(b, a, c0)
        c1 = temper_dot_pairs(b, a, c1)
        c2 = temper_dot_pairs(b, a, c2)
        c3 = temper_dot_pairs(b, a, c3)
        c4 = temper_dot_pairs(b, a, c4)
        c5 = temper_dot_pairs(b, a, c5)
        #if AVX512
          c6 = temper_dot_pairs(b, a, c6)
          c7 = temper_dot_pairs(b, a, c7)
          c8 = temper_dot_pairs(b, a, c8)
          c9 = temper_dot_pairs(b, a, c9)
          c10 = temper_dot_pairs(b, a, c10)
          c11 = temper_dot_pairs(b, a, c11)
        #endif
      }
      storeWords(c0, chains)
      storeWords(c1, chains + 16)
      storeWords(c2, chains + 32)
      storeWords(c3, chains + 48)
      storeWords(c4, chains + 64)
      storeWords(c5, chains + 80)
      #if AVX512
        storeWords(c6, chains + 96)
        storeWords(c7, chains + 112)
        storeWords(c8, chains + 128)
        storeWords(c9, chains + 144)
        storeWords(c10, chains + 160)
        storeWords(c11, chains + 176)
        return repetitions * 12 * 32
      #else
        return repetitions * 6 * 32
      #endif
    #endif
  }
}
