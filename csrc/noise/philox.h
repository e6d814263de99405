// SPDX-License-Identifier: Apache-2.0
// Counter-based normal noise: Philox4x32-10 (Salmon et al. 2011, SC'11) and Box-Muller, to the last bit the same
// on every executor. diffhpo.kernels.reference holds the definition in words.
//
// Works on scalars (host, device) and on SIMD vectors: F float, U uint32, I int32 of one width. Every float
// operation is rounded on its own; compile with contraction into FMA switched off.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace diffhpo {
namespace {

DIFFHPO_INLINE void multiply_wide(uint32_t a, uint32_t b, uint32_t& high, uint32_t& low) {
  const uint64_t product = static_cast<uint64_t>(a) * b;
  high = static_cast<uint32_t>(product >> 32);
  low = static_cast<uint32_t>(product);
}

DIFFHPO_INLINE uint32_t bits_of(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
#endif
}

DIFFHPO_INLINE float float_of_bits(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
#endif
}

DIFFHPO_INLINE float float_of_int(int32_t i) { return static_cast<float>(i); }

DIFFHPO_INLINE float square_root(float x) {
#ifdef __CUDA_ARCH__
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}

template <class U>
DIFFHPO_INLINE void philox4x32(U& c0, U& c1, U& c2, U& c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    U high0, low0, high1, low1;
    multiply_wide(c0, 0xD2511F53u, high0, low0);
    multiply_wide(c2, 0xCD9E8D57u, high1, low1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

template <class F, class U, class I>
DIFFHPO_INLINE void normal_pair(U first, U second, F& z0, F& z1) {
  // (w + 1/2): the high half and the low half with 1/2 are exact, their sum is rounded once.
  const F value = float_of_int((I)(first >> 16)) * 65536.0f + (float_of_int((I)(first & 0xFFFFu)) + 0.5f);
  // value = 2^exponent (1 + f) 2^32 with 1 + f in [sqrt(1/2), sqrt(2)).
  const U offset = bits_of(value) - 0x3F3504F3u;
  const F exponent = float_of_int(((I)offset >> 23) - 32);
  const F f = float_of_bits((offset & 0x7FFFFFu) + 0x3F3504F3u) - 1.0f;
  const F f2 = f * f;
  F log = f * -0x1.38b57cp-4f + 0x1.055b68p-3f;
  log = log * f + -0x1.0d8542p-3f;
  log = log * f + 0x1.22da1ep-3f;
  log = log * f + -0x1.547244p-3f;
  log = log * f + 0x1.99a008p-3f;
  log = log * f + -0x1.000226p-2f;
  log = log * f + 0x1.555554p-2f;
  log = (f2 * f) * log + exponent * -0x1.bd0106p-13f;
  log = ((log - f2 * 0.5f) + f) + exponent * 0.693359375f;
  const F radius = square_root(log * -2.0f);

  // The top two bits, rounded, are the quadrant; the rest is an angle in [-pi/4, pi/4).
  const U shifted = second + 0x20000000u;
  const U quadrant = shifted >> 30;
  const F angle = float_of_int((I)(shifted & 0x3FFFFFFFu) - 0x20000000) * 0x1.921fb6p-30f;
  const F angle2 = angle * angle;
  F sine = angle2 * -0x1.994edcp-13f + 0x1.110760p-7f;
  sine = sine * angle2 + -0x1.555546p-3f;
  sine = angle + (angle * angle2) * sine;
  F cosine = angle2 * 0x1.9a02cap-16f + -0x1.6c0c8ep-10f;
  cosine = cosine * angle2 + 0x1.55554ap-5f;
  cosine = (1.0f - angle2 * 0.5f) + (angle2 * angle2) * cosine;

  const U swap = 0u - (quadrant & 1u);
  const U s = bits_of(sine), c = bits_of(cosine);
  const U sign_x = ((quadrant + 1u) & 2u) << 30, sign_y = (quadrant & 2u) << 30;
  z0 = radius * float_of_bits(((s & swap) | (c & ~swap)) ^ sign_x);
  z1 = radius * float_of_bits(((c & swap) | (s & ~swap)) ^ sign_y);
}

// Four normals: dimensions 4 group to 4 group + 3 of one candidate at one step.
template <class F, class U, class I>
DIFFHPO_INLINE void normal4(U group, U step, U candidate_low, U candidate_high, uint64_t seed, F z[4]) {
  philox4x32(group, step, candidate_low, candidate_high, static_cast<uint32_t>(seed),
             static_cast<uint32_t>(seed >> 32));
  normal_pair<F, U, I>(group, step, z[0], z[1]);
  normal_pair<F, U, I>(candidate_low, candidate_high, z[2], z[3]);
}

}  // namespace
}  // namespace diffhpo
