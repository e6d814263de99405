// SPDX-License-Identifier: Apache-2.0
// One float vector of the widest kind that this translation unit is compiled for. Included by the kernels alone,
// which are built once per ISA; everything in it is inlined into its caller.
#pragma once

#include <cstdint>

#include "host_device.h"

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace diffhpo {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef uint32_t UVec __attribute__((vector_size(4 * kLanes)));
typedef int32_t IVec __attribute__((vector_size(4 * kLanes)));

DIFFHPO_INLINE Vec load(const float* from) {
  Vec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
DIFFHPO_INLINE UVec load(const uint32_t* from) {
  UVec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
DIFFHPO_INLINE void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }
DIFFHPO_INLINE Vec broadcast(float x) { return x - Vec{}; }
DIFFHPO_INLINE UVec broadcast(uint32_t x) { return x - UVec{}; }

DIFFHPO_INLINE UVec bits_of(Vec v) { return (UVec)v; }
DIFFHPO_INLINE Vec float_of_bits(UVec v) { return (Vec)v; }
DIFFHPO_INLINE Vec float_of_int(IVec v) { return __builtin_convertvector(v, Vec); }

// a * b + c; in one rounding where the ISA has FMA.
DIFFHPO_INLINE Vec fused(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

DIFFHPO_INLINE Vec square_root(Vec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
  return (Vec)_mm256_sqrt_ps((__m256)v);
#else
  for (int lane = 0; lane < kLanes; ++lane) v[lane] = __builtin_sqrtf(v[lane]);
  return v;
#endif
}

// nan in v stays nan.
DIFFHPO_INLINE Vec at_least(Vec v, float bound) {
#if defined(__AVX512F__)
  return (Vec)_mm512_max_ps(_mm512_set1_ps(bound), (__m512)v);
#elif defined(__AVX2__)
  return (Vec)_mm256_max_ps(_mm256_set1_ps(bound), (__m256)v);
#else
  return v < broadcast(bound) ? broadcast(bound) : v;
#endif
}
DIFFHPO_INLINE Vec at_most(Vec v, float bound) {
#if defined(__AVX512F__)
  return (Vec)_mm512_min_ps(_mm512_set1_ps(bound), (__m512)v);
#elif defined(__AVX2__)
  return (Vec)_mm256_min_ps(_mm256_set1_ps(bound), (__m256)v);
#else
  return v > broadcast(bound) ? broadcast(bound) : v;
#endif
}

// a / b for 2^-126 <= b < 2^126. With AVX-512 by an estimate of 1 / b, one Newton step and a correction of the
// quotient, 3x the throughput of the division instruction; within an ulp of it.
DIFFHPO_INLINE Vec divide(Vec a, Vec b) {
#if defined(__AVX512F__)
  const __m512 n = (__m512)a, d = (__m512)b;
  __m512 inverse = _mm512_rcp14_ps(d);
  inverse = _mm512_fmadd_ps(_mm512_fnmadd_ps(d, inverse, _mm512_set1_ps(1.0f)), inverse, inverse);
  const __m512 quotient = _mm512_mul_ps(n, inverse);
  return (Vec)_mm512_fmadd_ps(_mm512_fnmadd_ps(d, quotient, n), inverse, quotient);
#else
  return a / b;
#endif
}

DIFFHPO_INLINE void multiply_wide(UVec a, uint32_t b, UVec& high, UVec& low) {
#if defined(__AVX512F__)
  const __m512i factor = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i even = _mm512_mul_epu32((__m512i)a, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), factor);
  high = (UVec)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
  low = (UVec)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
#elif defined(__AVX2__)
  const __m256i factor = _mm256_set1_epi32(static_cast<int>(b));
  const __m256i even = _mm256_mul_epu32((__m256i)a, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), factor);
  high = (UVec)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  low = (UVec)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
#else
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint64_t product = static_cast<uint64_t>(a[lane]) * b;
    high[lane] = static_cast<uint32_t>(product >> 32);
    low[lane] = static_cast<uint32_t>(product);
  }
#endif
}

// Transposes the 4 x 4 matrices that the four vectors hold in each of their 128-bit quarters.
DIFFHPO_INLINE void interleave(Vec (&v)[4]) {
#if defined(__AVX512F__)
  const __m512 a = _mm512_unpacklo_ps((__m512)v[0], (__m512)v[1]), b = _mm512_unpackhi_ps((__m512)v[0], (__m512)v[1]);
  const __m512 c = _mm512_unpacklo_ps((__m512)v[2], (__m512)v[3]), d = _mm512_unpackhi_ps((__m512)v[2], (__m512)v[3]);
  v[0] = (Vec)_mm512_unpacklo_pd((__m512d)a, (__m512d)c);
  v[1] = (Vec)_mm512_unpackhi_pd((__m512d)a, (__m512d)c);
  v[2] = (Vec)_mm512_unpacklo_pd((__m512d)b, (__m512d)d);
  v[3] = (Vec)_mm512_unpackhi_pd((__m512d)b, (__m512d)d);
#elif defined(__AVX2__)
  const __m256 a = _mm256_unpacklo_ps((__m256)v[0], (__m256)v[1]), b = _mm256_unpackhi_ps((__m256)v[0], (__m256)v[1]);
  const __m256 c = _mm256_unpacklo_ps((__m256)v[2], (__m256)v[3]), d = _mm256_unpackhi_ps((__m256)v[2], (__m256)v[3]);
  v[0] = (Vec)_mm256_unpacklo_pd((__m256d)a, (__m256d)c);
  v[1] = (Vec)_mm256_unpackhi_pd((__m256d)a, (__m256d)c);
  v[2] = (Vec)_mm256_unpacklo_pd((__m256d)b, (__m256d)d);
  v[3] = (Vec)_mm256_unpackhi_pd((__m256d)b, (__m256d)d);
#else
  const Vec a = v[0], b = v[1], c = v[2], d = v[3];
  for (int k = 0; k < 4; ++k) v[k] = Vec{a[k], b[k], c[k], d[k]};
#endif
}

// e^x for |x| <= 87, relative error 2^-23: x = n log 2 + r, e^r = 1 + r + r^2 Q(r) by minimax.
DIFFHPO_INLINE Vec exponential(Vec x) {
  const Vec shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec shifted = fused(x, broadcast(1.44269504f), shift);
  const Vec n = shifted - shift;
  Vec r = fused(n, broadcast(-0.693359375f), x);
  r = fused(n, broadcast(0x1.bd0106p-13f), r);
  Vec e = broadcast(0x1.6a2374p-10f);
  e = fused(e, r, broadcast(0x1.123a6ap-7f));
  e = fused(e, r, broadcast(0x1.5558f4p-5f));
  e = fused(e, r, broadcast(0x1.555490p-3f));
  e = fused(e, r, broadcast(0x1.fffffcp-2f));
  e = fused(e, r, broadcast(1.0f));
  e = fused(e, r, broadcast(1.0f));
  const UVec scale = (bits_of(shifted) + (127u - 0x4B400000u)) << 23;
  return e * float_of_bits(scale);
}

// x / (1 + e^-x). Beyond -87 the value is 0 to within 1e-36.
DIFFHPO_INLINE Vec silu(Vec x) {
  const Vec bounded = at_least(x, -87.0f);
#if defined(__AVX512F__)
  // 2^t, t = -x log2 e = n + f, as 2^n P(f). A relative error of e^-x counts x sigmoid(x) (1 - sigmoid(x)) < 0.23
  // times, so degree 5 (1e-7) and a log2 e of 24 bits leave the absolute error of values below 1 under an ulp of 1.
  const __m512 v = (__m512)at_most(bounded, 87.0f), log2e = _mm512_set1_ps(-1.44269504f);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(v, log2e), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_fmsub_ps(v, log2e, n);
  __m512 e = _mm512_set1_ps(0x1.5a8502p-10f);
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.3cec16p-7f));
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.c6baaap-5f));
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.ebf9b6p-3f));
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.62e426p-1f));
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(1.0f));
  const __m512 d = _mm512_add_ps(_mm512_scalef_ps(e, n), _mm512_set1_ps(1.0f));
  __m512 inverse = _mm512_rcp14_ps(d);
  inverse = _mm512_fmadd_ps(_mm512_fnmadd_ps(d, inverse, _mm512_set1_ps(1.0f)), inverse, inverse);
  return (Vec)_mm512_mul_ps((__m512)bounded, inverse);
#else
  return divide(bounded, 1.0f + exponential(at_least(-bounded, -87.0f)));
#endif
}

// silu(x) and its derivative, sigmoid(x) (1 + x (1 - sigmoid(x))).
DIFFHPO_INLINE Vec silu(Vec x, Vec* slope) {
  const Vec bounded = at_least(x, -87.0f);
  const Vec sigmoid = divide(broadcast(1.0f), 1.0f + exponential(at_least(-bounded, -87.0f)));
  const Vec value = bounded * sigmoid;
  *slope = fused(value, 1.0f - sigmoid, sigmoid);
  return value;
}

}  // namespace
}  // namespace diffhpo
