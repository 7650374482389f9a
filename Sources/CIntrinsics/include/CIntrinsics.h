// What Swift cannot spell: cpuid, the integer dot products of x86, and conversions of vectors.
// Header only. Functions for one instruction carry the target they need, so a module compiled for it gets the single
// instruction and any other module may import the header without using it.
// The conversions exist in Swift as generic initializers, but those are sometimes left as calls, and the linker merges
// the copies of all modules: AVX2 code could then call one compiled for AVX-512. Static inline functions are never
// merged.
#ifndef TEMPER_CINTRINSICS_H
#define TEMPER_CINTRINSICS_H

#include <stdint.h>

typedef float temper_float16 __attribute__((ext_vector_type(16)));
typedef int32_t temper_int16 __attribute__((ext_vector_type(16)));
typedef int16_t temper_short16 __attribute__((ext_vector_type(16)));
typedef int8_t temper_char16 __attribute__((ext_vector_type(16)));
typedef uint8_t temper_uchar16 __attribute__((ext_vector_type(16)));

#define TEMPER_INLINE static inline __attribute__((always_inline, unused))

/// Exactly rounded square roots. (Swift's `squareRoot()` of a vector goes lane by lane, through libm for negative
/// numbers.)
TEMPER_INLINE temper_float16 temper_square_root(temper_float16 x) { return __builtin_elementwise_sqrt(x); }

/// target[j][i] = source[i * stride + j] for 16 x 16 floats: four perfect shuffles of the rows. (Gathers are slow on processors
/// that hide what they gather.)
TEMPER_INLINE void temper_transpose(const float *source, long stride, float *target) {
  temper_float16 a[16], b[16];
  for (int i = 0; i < 16; i++) __builtin_memcpy(&a[i], source + i * stride, sizeof a[i]);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 8; i++) {
      b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      b[2 * i + 1] = __builtin_shufflevector(
          a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < 8; i++) {
      a[2 * i] = __builtin_shufflevector(b[i], b[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      a[2 * i + 1] = __builtin_shufflevector(
          b[i], b[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
  }
  __builtin_memcpy(target, a, sizeof a);
}

/// Sixteen int8 to int32.
TEMPER_INLINE temper_int16 temper_widen_int8(temper_char16 x) { return __builtin_convertvector(x, temper_int16); }

/// Sixteen uint8 to int32.
TEMPER_INLINE temper_int16 temper_widen_uint8(temper_uchar16 x) { return __builtin_convertvector(x, temper_int16); }

/// Sixteen int8 to int16.
TEMPER_INLINE temper_short16 temper_widen_int8_to_int16(temper_char16 x) {
  return __builtin_convertvector(x, temper_short16);
}

/// The low byte of sixteen int32, as int8.
TEMPER_INLINE temper_char16 temper_narrow_int8(temper_int16 x) { return __builtin_convertvector(x, temper_char16); }

/// The low half of sixteen int32, as int16.
TEMPER_INLINE temper_short16 temper_narrow_int16(temper_int16 x) { return __builtin_convertvector(x, temper_short16); }

/// Sixteen int32 to floats, to nearest even.
TEMPER_INLINE temper_float16 temper_to_float(temper_int16 x) { return __builtin_convertvector(x, temper_float16); }

/// Pairs of int16 in one int32 each: `low` in the low half, `high` in the high half.
TEMPER_INLINE temper_int16 temper_pair_int16(temper_short16 low, temper_short16 high) {
  return (__builtin_convertvector(low, temper_int16) & 0xFFFF) | (__builtin_convertvector(high, temper_int16) << 16);
}

/// The low byte of sixteen int32, as uint8.
TEMPER_INLINE temper_uchar16 temper_narrow_uint8(temper_int16 x) { return __builtin_convertvector(x, temper_uchar16); }

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/// The registers that cpuid returned for (leaf, subleaf); all zero when the leaf does not exist.
typedef struct { uint32_t eax, ebx, ecx, edx; } temper_cpuid_registers;

static inline temper_cpuid_registers temper_cpuid(uint32_t leaf, uint32_t subleaf) {
  temper_cpuid_registers r = {0, 0, 0, 0};
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

/// XCR0: which register files the operating system saves. Only valid when cpuid reports OSXSAVE.
__attribute__((target("xsave"))) static inline uint64_t temper_xgetbv(void) { return _xgetbv(0); }

/// sum[i] + the four products unsignedBytes[4i..] * signedBytes[4i..], exact in int32 (no saturation).
__attribute__((target("avx512f,avx512vnni"))) static inline __m512i temper_dot_u8s8(
    __m512i sum, __m512i unsigned_bytes, __m512i signed_bytes) {
  return _mm512_dpbusd_epi32(sum, unsigned_bytes, signed_bytes);
}

/// `temper_dot_u8s8` for four sums.
__attribute__((target("avx512f,avx512vl,avx512vnni"))) static inline __m128i temper_dot_u8s8_128(
    __m128i sum, __m128i unsigned_bytes, __m128i signed_bytes) {
  return _mm_dpbusd_epi32(sum, unsigned_bytes, signed_bytes);
}

#endif

/// sum[i] + a[2i] * b[2i] + a[2i+1] * b[2i+1] of int16 pairs, exact in int32 (wrapping) unless all four are -32768.
TEMPER_INLINE temper_int16 temper_dot_pairs(temper_int16 sum, temper_int16 a, temper_int16 b) {
#if defined(__AVX512VNNI__)
  return (temper_int16)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
  return (temper_int16)_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)a, (__m512i)b));
#elif defined(__AVX2__)
  typedef int32_t half __attribute__((ext_vector_type(8)));
  half low = (half)_mm256_madd_epi16((__m256i)a.lo, (__m256i)b.lo);
  half high = (half)_mm256_madd_epi16((__m256i)a.hi, (__m256i)b.hi);
  temper_int16 products;
  products.lo = low;
  products.hi = high;
  return sum + products;
#else
  return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

typedef _Float16 temper_half16 __attribute__((ext_vector_type(16)));

/// Sixteen halves at `source` to floats, exact.
TEMPER_INLINE temper_float16 temper_load_half(const void *source) {
  temper_half16 half;
  __builtin_memcpy(&half, source, sizeof half);
  return __builtin_convertvector(half, temper_float16);
}

/// Sixteen floats to halves at `target`, to nearest even.
TEMPER_INLINE void temper_store_half(void *target, temper_float16 x) {
  temper_half16 half = __builtin_convertvector(x, temper_half16);
  __builtin_memcpy(target, &half, sizeof half);
}

/// Stores sixteen floats past the caches, where they would only take the place of what is needed sooner, and without
/// reading what they overwrite first; `target` starts a cache line. Visible to others after `temper_stream_end`.
TEMPER_INLINE void temper_stream(float *target, temper_float16 x) {
  __builtin_nontemporal_store(x, (temper_float16 *)target);
}

TEMPER_INLINE void temper_stream_end(void) {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#else
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/// Begins to read the cache line at `source` into the second-level cache.
TEMPER_INLINE void temper_prefetch(const void *source) { __builtin_prefetch(source, 0, 2); }

/// The sign bits of sixteen int32, lane 0 lowest.
TEMPER_INLINE uint16_t temper_sign_bits(temper_int16 x) {
#if defined(__AVX512DQ__)
  return (uint16_t)_mm512_movepi32_mask((__m512i)x);
#elif defined(__AVX2__)
  __m256i low = (__m256i)__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
  __m256i high = (__m256i)__builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  return (uint16_t)(_mm256_movemask_ps((__m256)low) | _mm256_movemask_ps((__m256)high) << 8);
#else
  uint16_t bits = 0;
  for (int lane = 0; lane < 16; lane++) bits |= (uint16_t)((uint32_t)x[lane] >> 31 << lane);
  return bits;
#endif
}

#endif
