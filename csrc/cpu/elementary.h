// SPDX-License-Identifier: Apache-2.0
// Elementary functions of a vector beside those of simd.h and softmax.h, with errors of a few ulp. Polynomials are
// minimax, of relative error below 1e-8 before rounding.
#pragma once

#include "cpu/simd.h"

namespace diffhpo {
namespace {

DIFFHPO_INLINE Vec magnitude(Vec x) { return float_of_bits(bits_of(x) & 0x7FFFFFFFu); }

// sin(pi r) for |r| <= 1/2.
DIFFHPO_INLINE Vec sine_of_part(Vec r) {
  const Vec square = r * r;
  Vec p = broadcast(0x1.3db00ap-4f);
  p = fused(p, square, broadcast(-0x1.324cccp-1f));
  p = fused(p, square, broadcast(0x1.4668b0p+1f));
  p = fused(p, square, broadcast(-0x1.4abbc2p+2f));
  p = fused(p, square, broadcast(0x1.921fb6p+1f));
  return p * r;
}

// sin(pi t) and cos(pi t) for |t| <= 2^21. The reduction to a part of a half turn is exact, so multiples of pi have no
// error of their own.
DIFFHPO_INLINE void sine_cosine(Vec t, Vec* sine, Vec* cosine) {
  const Vec shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec shifted = t + shift;
  const Vec r = t - (shifted - shift);
  const UVec sign = bits_of(shifted) << 31;  // sines and cosines of odd half turns are negative
  *sine = float_of_bits(bits_of(sine_of_part(r)) ^ sign);
  *cosine = float_of_bits(bits_of(sine_of_part(0.5f - magnitude(r))) ^ sign);
}

// log x for positive normal x: x = 2^n (1 + f), log(1 + f) = f - f^2 / 2 + f^3 P(f) for 1 + f in [sqrt(1/2), sqrt(2)).
DIFFHPO_INLINE Vec logarithm(Vec x) {
  const IVec n = (IVec)(bits_of(x) - 0x3F3504F3u) >> 23;
  const Vec f = float_of_bits(bits_of(x) - ((UVec)n << 23)) - 1.0f;
  Vec p = broadcast(-0x1.38b580p-4f);
  p = fused(p, f, broadcast(0x1.055b6ap-3f));
  p = fused(p, f, broadcast(-0x1.0d8542p-3f));
  p = fused(p, f, broadcast(0x1.22da1cp-3f));
  p = fused(p, f, broadcast(-0x1.547244p-3f));
  p = fused(p, f, broadcast(0x1.99a008p-3f));
  p = fused(p, f, broadcast(-0x1.000226p-2f));
  p = fused(p, f, broadcast(0x1.555554p-2f));
  const Vec whole = float_of_int(n), square = f * f;
  // log 2 in two parts, of which n times the first is exact.
  Vec rest = fused(whole, broadcast(-0x1.bd0106p-13f), square * f * p);
  rest = fused(square, broadcast(-0.5f), rest);
  return fused(whole, broadcast(0.693359375f), f + rest);
}

// x^a for x in (0, 1] and a >= 0; below e^-87 it is that. Its error, in ulp of 1, is at most a few.
DIFFHPO_INLINE Vec power(Vec x, Vec a) { return exponential(at_least(a * logarithm(x), -87.0f)); }

// tanh x = x + x^3 P(x^2) near 0, sign(x) (1 - 2 / (e^2|x| + 1)) elsewhere.
DIFFHPO_INLINE Vec hyperbolic_tangent(Vec x) {
  const Vec size = magnitude(x), square = x * x;
  Vec p = broadcast(-0x1.75e1cep-8f);
  p = fused(p, square, broadcast(0x1.52269cp-6f));
  p = fused(p, square, broadcast(-0x1.b83c5ap-5f));
  p = fused(p, square, broadcast(0x1.110726p-3f));
  p = fused(p, square, broadcast(-0x1.555532p-2f));
  const Vec near = fused(p * square, x, x);
  const Vec far = 1.0f - divide(broadcast(2.0f), exponential(at_most(2.0f * size, 40.0f)) + 1.0f);
  const Vec signed_far = float_of_bits(bits_of(far) | (bits_of(x) & 0x80000000u));
  return size < broadcast(0.625f) ? near : signed_far;
}

}  // namespace
}  // namespace diffhpo
