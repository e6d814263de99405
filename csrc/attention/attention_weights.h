// SPDX-License-Identifier: Apache-2.0
// Unnormalised attention weights 2^(initial + query . key) for a few rows, tokens in SIMD lanes, straight from the
// registers that the scores were summed in: no pass over the scores, and no search for their maximum. Softmax does
// not depend on what is subtracted from the scores, so nothing is, as long as the sum of the weights shows that
// neither overflow nor underflow mattered; `sum_is_safe` tells, row by row, and other rows take softmax.h's way.
#pragma once

#include "cpu/dense_layer.h"
#include "cpu/simd.h"
#include "cpu/softmax.h"

namespace diffhpo {
namespace {

// Every weight that was lost to underflow is below 2^-66 of such a sum, and its products with values stay finite.
DIFFHPO_INLINE bool sum_is_safe(float sum) { return sum > 0x1p-60f && sum < 0x1p60f; }

struct ScoreLayer {
  const float* keys;     // [panel][features][32], scores to base 2
  const float* initial;  // [padded(tokens)]; kFarBelow beyond the last token
  int features;
  int tokens;
};

// Weights of the tokens [first, first + Vectors * kLanes); adds them to `sums` [Rows][kLanes] if there are such.
template <int Rows, int Vectors>
__attribute__((noinline)) void weigh_block(const ScoreLayer& layer, int first, const float* query,
                                           int64_t query_stride, float* weights, int64_t weights_stride,
                                           float* sums) {
  const int64_t panel_stride = static_cast<int64_t>(layer.features) * kPanel;
  const float* keys = layer.keys + (first / kPanel) * panel_stride + first % kPanel;
  Vec sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const Vec initial = load(layer.initial + first + v * kLanes);
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) sum[row][v] = initial;
  }
  for (int k = 0; k < layer.features; ++k) {
    Vec key[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      key[v] = load(keys + (v / kVectorsPerPanel) * panel_stride + k * kPanel + (v % kVectorsPerPanel) * kLanes);
    }
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) {
      const Vec value = broadcast(query[row * query_stride + k]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[row][v] = fused(value, key[v], sum[row][v]);
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
    // Vectors are added one after another, so that the order is the same whatever `Vectors` is.
    Vec total = sums == nullptr ? Vec{} : load(sums + row * kLanes);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const Vec weight = bounded_power_of_two(sum[row][v]);
      store(weights + row * weights_stride + first + v * kLanes, weight);
      total = total + weight;
    }
    if (sums != nullptr) store(sums + row * kLanes, total);
  }
}

template <int Rows, int Vectors>
void weigh_from(const ScoreLayer& layer, int first, const float* query, int64_t query_stride, float* weights,
                int64_t weights_stride, float* sums) {
  for (; vectors(layer.tokens - first) >= Vectors; first += Vectors * kLanes) {
    weigh_block<Rows, Vectors>(layer, first, query, query_stride, weights, weights_stride, sums);
  }
  if constexpr (Vectors > 1) {
    if (first < layer.tokens) {
      weigh_from<Rows, Vectors / 2>(layer, first, query, query_stride, weights, weights_stride, sums);
    }
  }
}

template <int Rows>
void weigh_rows(const ScoreLayer& layer, int rows, const float* query, int64_t query_stride, float* weights,
                int64_t weights_stride, float* sums) {
  if (rows == Rows) {
    weigh_from<Rows, widest(Rows)>(layer, 0, query, query_stride, weights, weights_stride, sums);
  } else if constexpr (Rows > 1) {
    weigh_rows<Rows - 1>(layer, rows, query, query_stride, weights, weights_stride, sums);
  }
}

// `query` [rows, features] -> `weights` [rows, tokens], filled up to a whole vector; at most kRows rows.
void weigh(const ScoreLayer& layer, int rows, const float* query, int64_t query_stride, float* weights,
           int64_t weights_stride, float* sums) {
  weigh_rows<kRows>(layer, rows, query, query_stride, weights, weights_stride, sums);
}

}  // namespace
}  // namespace diffhpo
