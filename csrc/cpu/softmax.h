// SPDX-License-Identifier: Apache-2.0
// Softmax over a row that arrives in chunks, to base 2: the scores hold a factor log2(e).
#pragma once

#include "cpu/row_reductions.h"
#include "cpu/simd.h"

namespace diffhpo {
namespace {

constexpr float kFarBelow = -1e38f;  // any score

// 2^x for -126 <= x <= 127, relative error 1.5e-7, by minimax polynomials of degree 5 in the fraction of x: where there
// are instructions for the fraction and for scaling, of x - floor(x), elsewhere of x - round(x).
DIFFHPO_INLINE Vec power_of_two(Vec x) {
#if defined(__AVX512DQ__)
  const Vec r = (Vec)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  Vec e = broadcast(0x1.ec320ap-10f);
  e = fused(e, r, broadcast(0x1.26900ep-7f));
  e = fused(e, r, broadcast(0x1.c95446p-5f));
  e = fused(e, r, broadcast(0x1.ebd5a8p-3f));
  e = fused(e, r, broadcast(0x1.62e4f6p-1f));
  e = fused(e, r, broadcast(0x1.fffffep-1f));
  return (Vec)_mm512_scalef_ps((__m512)e, (__m512)x);
#else
  const Vec shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec shifted = x + shift;
  const Vec r = x - (shifted - shift);
  Vec e = broadcast(0x1.5bba14p-10f);
  e = fused(e, r, broadcast(0x1.3cea88p-7f));
  e = fused(e, r, broadcast(0x1.c6b752p-5f));
  e = fused(e, r, broadcast(0x1.ebf9bcp-3f));
  e = fused(e, r, broadcast(0x1.62e42ap-1f));
  e = fused(e, r, broadcast(1.0f));
  // e lies in [0.7, 1.42], so n may be added to its exponent; -126 gives the smallest normal numbers.
  return float_of_bits(bits_of(e) + (bits_of(shifted) << 23));
#endif
}

// 2^x for every x; beyond the normal numbers it is 0 or a bound of them.
DIFFHPO_INLINE Vec bounded_power_of_two(Vec x) {
#if defined(__AVX512DQ__)
  return power_of_two(x);
#else
  return power_of_two(at_most(at_least(x, -126.0f), 127.0f));
#endif
}

// Turns scores [count] into weights 2^(score - largest) and takes them into the running `largest` and `sum`. Beyond
// `count`, up to a whole vector, the scores are far below the others. Returns the factor that what was summed
// under the former `largest` has to be multiplied by.
DIFFHPO_INLINE float take_scores(float* scores, int count, bool first, float& largest, float& sum) {
  Vec top = load(scores);
  for (int j = kLanes; j < count; j += kLanes) top = greater(top, load(scores + j));
  const float found = lane_greatest(top);
  const float bound = first || found > largest ? found : largest;
  const float factor = first || bound == largest ? 1.0f
                                                 : power_of_two(at_least(broadcast(largest - bound), -126.0f))[0];
  const Vec offset = broadcast(bound);
  Vec total = {};
  for (int j = 0; j < count; j += kLanes) {
    const Vec weight = power_of_two(at_least(load(scores + j) - offset, -126.0f));
    store(scores + j, weight);
    total = total + weight;
  }
  sum = first ? lane_sum(total) : sum * factor + lane_sum(total);
  largest = bound;
  return factor;
}

// Scores [count] to base 2 -> softmax, in place. Reads beyond `count`, up to a whole vector, and leaves that as it is.
DIFFHPO_INLINE void softmax(float* scores, int count) {
  const int whole = count / kLanes * kLanes, rest = count - whole;
  const Vec below = broadcast(kFarBelow);
  Vec top = rest > 0 ? first_lanes(load(scores + whole), rest, below) : below;
  for (int j = 0; j < whole; j += kLanes) top = greater(top, load(scores + j));
  const Vec offset = broadcast(lane_greatest(top));
  Vec total = {}, last = {};
  for (int j = 0; j < whole; j += kLanes) {
    const Vec weight = power_of_two(at_least(load(scores + j) - offset, -126.0f));
    store(scores + j, weight);
    total = total + weight;
  }
  if (rest > 0) {
    last = first_lanes(power_of_two(at_least(load(scores + whole) - offset, -126.0f)), rest, Vec{});
    total = total + last;
  }
  const Vec scale = broadcast(1.0f / lane_sum(total));
  for (int j = 0; j < whole; j += kLanes) store(scores + j, load(scores + j) * scale);
  if (rest > 0) store(scores + whole, first_lanes(last * scale, rest, load(scores + whole)));
}

}  // namespace
}  // namespace diffhpo
