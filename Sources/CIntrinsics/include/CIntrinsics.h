// What Swift cannot spell: cpuid, and the integer dot products of x86.
// Header only. Every function is static inline and carries the target it needs, so a module compiled with those
// instructions gets the single instruction and any other module may import the header without using it.
#ifndef TEMPER_CINTRINSICS_H
#define TEMPER_CINTRINSICS_H

#include <stdint.h>

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

/// a[2i] * b[2i] + a[2i+1] * b[2i+1] of int16 pairs, exact in int32 unless all four are -32768.
__attribute__((target("avx2"))) static inline __m256i temper_multiply_add_pairs(__m256i a, __m256i b) {
  return _mm256_madd_epi16(a, b);
}

/// `temper_multiply_add_pairs` for 16 sums.
__attribute__((target("avx512f,avx512bw"))) static inline __m512i temper_multiply_add_pairs_512(__m512i a, __m512i b) {
  return _mm512_madd_epi16(a, b);
}
#endif

#endif
