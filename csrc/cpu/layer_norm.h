// SPDX-License-Identifier: Apache-2.0
// (h - mean) / sqrt(variance + 1e-5) of every row (Ba et al. 2016, arXiv 1607.06450); scale and shift are folded
// into the layer that reads the result.
#pragma once

#include "cpu/row_reductions.h"
#include "cpu/simd.h"

namespace diffhpo {
namespace {

constexpr float kLayerNormEpsilon = 1e-5f;  // torch.nn.LayerNorm's

// `in` [rows, width] -> `out`, rows `stride` floats apart in both. Reads and writes whole vectors.
inline __attribute__((always_inline)) void normalise_rows(const float* in, int rows, int width, int64_t stride,
                                                          float* out) {
  const int whole = width / kLanes * kLanes, rest = width - whole;
  const float share = 1.0f / static_cast<float>(width);
  for (int row = 0; row < rows; ++row) {
    const float* from = in + row * stride;
    float* to = out + row * stride;
    Vec sum = {};
    for (int j = 0; j < whole; j += kLanes) sum = sum + load(from + j);
    if (rest > 0) sum = sum + first_lanes(load(from + whole), rest, Vec{});
    const Vec mean = broadcast(lane_sum(sum) * share);
    Vec squares = {};
    for (int j = 0; j < whole; j += kLanes) {
      const Vec centred = load(from + j) - mean;
      squares = fused(centred, centred, squares);
    }
    if (rest > 0) {
      const Vec centred = first_lanes(load(from + whole) - mean, rest, Vec{});
      squares = fused(centred, centred, squares);
    }
    const Vec scale = broadcast(1.0f / __builtin_sqrtf(lane_sum(squares) * share + kLayerNormEpsilon));
    for (int j = 0; j < width; j += kLanes) store(to + j, (load(from + j) - mean) * scale);
  }
}

}  // namespace
}  // namespace diffhpo
