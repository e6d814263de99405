// SPDX-License-Identifier: Apache-2.0
// Over the lanes of a vector, each in one fixed order.
#pragma once

#include "cpu/simd.h"

namespace diffhpo {
namespace {

#if defined(__AVX512F__)
DIFFHPO_INLINE Vec greater(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
DIFFHPO_INLINE Vec greater(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
#else
DIFFHPO_INLINE Vec greater(Vec a, Vec b) { return a > b ? a : b; }
#endif

#if defined(__AVX2__) || defined(__AVX512F__)
DIFFHPO_INLINE float sum4(__m128 v) {
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}
DIFFHPO_INLINE float greatest4(__m128 v) {
  v = _mm_max_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_max_ss(v, _mm_shuffle_ps(v, v, 1)));
}
#endif

DIFFHPO_INLINE float lane_sum(Vec v) {
#if defined(__AVX512F__)
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
  return sum4(_mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
#elif defined(__AVX2__)
  return sum4(_mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1)));
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

DIFFHPO_INLINE float lane_greatest(Vec v) {
#if defined(__AVX512F__)
  const __m256 half = _mm256_max_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
  return greatest4(_mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
#elif defined(__AVX2__)
  return greatest4(_mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1)));
#else
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
#endif
}

// The first `count` lanes of v, those of `rest` beyond.
DIFFHPO_INLINE Vec first_lanes(Vec v, int count, Vec rest) {
  IVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < (count - IVec{}) ? v : rest;
}

}  // namespace
}  // namespace diffhpo
