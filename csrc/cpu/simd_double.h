// SPDX-License-Identifier: Apache-2.0
// As simd.h, for float64; its functions are accurate to a few units of the last place.
#pragma once

#include "cpu/simd.h"

namespace diffhpo {
namespace {

constexpr int kDoubles = kLanes / 2;

typedef double DVec __attribute__((vector_size(8 * kDoubles)));
typedef uint64_t DBits __attribute__((vector_size(8 * kDoubles)));

DIFFHPO_INLINE DVec load(const double* from) {
  DVec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
DIFFHPO_INLINE void store(double* to, DVec v) { __builtin_memcpy(to, &v, sizeof v); }
DIFFHPO_INLINE DVec broadcast(double x) { return x - DVec{}; }

// a * b + c; in one rounding where the ISA has FMA.
DIFFHPO_INLINE DVec fused(DVec a, DVec b, DVec c) {
#if defined(__AVX512F__)
  return (DVec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
  return (DVec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

DIFFHPO_INLINE DVec square_root(DVec v) {
#if defined(__AVX512F__)
  return (DVec)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
  return (DVec)_mm256_sqrt_pd((__m256d)v);
#else
  for (int lane = 0; lane < kDoubles; ++lane) v[lane] = __builtin_sqrt(v[lane]);
  return v;
#endif
}

// nan in v stays nan.
DIFFHPO_INLINE DVec at_least(DVec v, double bound) { return v < broadcast(bound) ? broadcast(bound) : v; }

// c0 + x (c1 + x (...)), coefficients from the highest power down.
template <int N>
DIFFHPO_INLINE DVec polynomial(const double (&coefficients)[N], DVec x) {
  DVec sum = broadcast(coefficients[0]);
#pragma GCC unroll 32
  for (int k = 1; k < N; ++k) sum = fused(sum, x, broadcast(coefficients[k]));
  return sum;
}

// log 2 in two parts, the first with 32 significant bits: n times it is exact (Sun's fdlibm, e_exp.c).
constexpr double kLog2High = 0x1.62e42feep-1, kLog2Low = 0x1.a39ef35793c76p-33;

// e^x for x <= 709, 0 below -708: x = n log 2 + r, e^r by its Taylor series to r^13, whose rest is below 4e-18.
DIFFHPO_INLINE DVec exponential(DVec x) {
  constexpr double kTaylor[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,
                                1.0 / 6,          0.5,             1.0,            1.0};
  const DVec bounded = at_least(x, -708.0);
  const DVec shift = broadcast(0x1.8p52);  // adding it rounds to an integer in the low bits
  const DVec shifted = fused(bounded, broadcast(0x1.71547652b82fep0), shift);
  const DVec n = shifted - shift;
  DVec r = fused(n, broadcast(-kLog2High), bounded);
  r = fused(n, broadcast(-kLog2Low), r);
  const DBits scale = ((DBits)shifted + 1023) << 52;
  return x < broadcast(-708.0) ? DVec{} : polynomial(kTaylor, r) * (DVec)scale;
}

// log x for x >= 2^-1022, infinity and nan stay; as Sun's fdlibm (e_log.c): x = 2^n (1 + f), s = f / (2 + f).
DIFFHPO_INLINE DVec logarithm(DVec x) {
  constexpr double kSeries[] = {1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                                2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                                6.666666666666735130e-01};
  // The mantissa in [sqrt(1/2), sqrt(2)): what the exponent of x sqrt(2) says is taken off.
  const DBits bits = (DBits)x + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  const DVec n = (DVec)((bits >> 52) | 0x4330000000000000u) - broadcast(0x1p52 + 1023.0);
  const DVec mantissa = (DVec)((bits & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
  const DVec f = mantissa - 1.0, s = f / (2.0 + f), square = s * s, half = 0.5 * f * f;
  const DVec rest = square * polynomial(kSeries, square);
  const DVec value = fused(n, broadcast(kLog2High), f - (half - fused(s, half + rest, n * kLog2Low)));
  return x < broadcast(__builtin_huge_val()) ? value : x;
}

}  // namespace
}  // namespace diffhpo
