// SPDX-License-Identifier: Apache-2.0
// The arithmetic of one warp of the bf16 loop: tiles of 16 candidates whose x and hidden features stay in registers.
//
// The accumulator of one product is the A fragment of the next: lane 4 g + t holds columns 2 t, 2 t + 1 of rows g
// and g + 8 of every 8 columns in both. So no activation goes through shared memory. Every output is one chain of
// products in the order of the inputs, whatever the number of tiles: a candidate's bits do not depend on the batch.
#pragma once

#include "cuda/cuda_intrinsics.h"
#include "cuda/fragment_layout.h"
#include "noise/philox.h"

namespace diffhpo {
namespace {

template <int kTiles, int kColumns>
using Accumulators = float[kTiles][kColumns / 8][4];
template <int kTiles, int kColumns>
using Fragments = uint32_t[kTiles][kColumns / 16][4];

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x % 32); }
__device__ __forceinline__ int lane_column() { return 2 * (lane_index() % 4); }

template <int kTiles, int kColumns>
__device__ __forceinline__ void to_fragments(const float (&from)[kTiles][kColumns / 8][4],
                                             uint32_t (&to)[kTiles][kColumns / 16][4]) {
#pragma unroll
  for (int r = 0; r < kTiles; ++r) {
#pragma unroll
    for (int k = 0; k < kColumns / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&half)[4] = from[r][2 * k + i / 2];
        to[r][k][i] = pack_bf16(half[i % 2 * 2], half[i % 2 * 2 + 1]);
      }
    }
  }
}

// sums += in W of tiles [kOutputs / 16][kInputs / 16].
template <int kTiles, int kInputs, int kOutputs>
__device__ __forceinline__ void multiply(const uint4* weights, const uint32_t (&in)[kTiles][kInputs / 16][4],
                                         float (&sums)[kTiles][kOutputs / 8][4]) {
#pragma unroll
  for (int n = 0; n < kOutputs / 16; ++n) {
#pragma unroll
    for (int k = 0; k < kInputs / 16; ++k) {
      const uint4 w = weights[(n * (kInputs / 16) + k) * kTileVectors + lane_index()];
#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
        multiply_add(sums[r][2 * n], in[r][k], w.x, w.y);
        multiply_add(sums[r][2 * n + 1], in[r][k], w.z, w.w);
      }
    }
  }
}

// sums = bias (kAdd: +=), the same for every row.
template <bool kAdd, int kTiles, int kColumns>
__device__ __forceinline__ void set_bias(const float* bias, float (&sums)[kTiles][kColumns / 8][4]) {
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
    const float2 b = *reinterpret_cast<const float2*>(bias + 8 * n + lane_column());
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float value = i % 2 == 0 ? b.x : b.y;
        sums[r][n][i] = kAdd ? sums[r][n][i] + value : value;
      }
    }
  }
}

// x sigmoid(x) for u = x / 2.
__device__ __forceinline__ float silu_of_half(float u) { return fmaf(u, approximate_tanh(u), u); }

constexpr int panel_vectors(int width) { return width / 8 * kTileVectors; }

// silu(in E + conditioning) of the 16 kTogether expanded features of as many panels. E is stored halved, which is
// exact, so that its product is silu_of_half's argument.
template <int kTogether, int kTiles, int kWidth>
__device__ __forceinline__ void expand(const uint4* panels, const float* of_step, const float* of_job,
                                       const uint32_t (&job)[kTiles][2], const uint32_t (&in)[kTiles][kWidth / 16][4],
                                       uint32_t (&expanded)[kTiles][kTogether][4]) {
  float sums[kTiles][2 * kTogether][4];
#pragma unroll
  for (int n = 0; n < 2 * kTogether; ++n) {
    const float2 s = *reinterpret_cast<const float2*>(of_step + 8 * n + lane_column());
    const float half_x = 0.5f * s.x, half_y = 0.5f * s.y;
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float2 j = *reinterpret_cast<const float2*>(of_job + job[r][half] + 8 * n + lane_column());
        sums[r][n][2 * half] = fmaf(0.5f, j.x, half_x);
        sums[r][n][2 * half + 1] = fmaf(0.5f, j.y, half_y);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k) {
#pragma unroll
    for (int c = 0; c < kTogether; ++c) {
      const uint4 w = panels[c * panel_vectors(kWidth) + k * kTileVectors + lane_index()];
#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
        multiply_add(sums[r][2 * c], in[r][k], w.x, w.y);
        multiply_add(sums[r][2 * c + 1], in[r][k], w.z, w.w);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kTiles; ++r) {
#pragma unroll
    for (int n = 0; n < 2 * kTogether; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[r][n][i] = silu_of_half(sums[r][n][i]);
    }
  }
  to_fragments<kTiles, 16 * kTogether>(sums, expanded);
}

// hidden += expanded C, for the kColumns hidden features from `column`, panel after panel.
template <int kTogether, int kTiles, int kWidth, int kColumns>
__device__ __forceinline__ void contract(const uint4* panels, int column,
                                         const uint32_t (&expanded)[kTiles][kTogether][4],
                                         float (&hidden)[kTiles][kColumns / 8][4]) {
#pragma unroll
  for (int c = 0; c < kTogether; ++c) {
#pragma unroll
    for (int n = 0; n < kColumns / 16; ++n) {
      const int tile = kWidth / 16 + column / 16 + n;
      const uint4 w = panels[c * panel_vectors(kWidth) + tile * kTileVectors + lane_index()];
#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
        multiply_add(hidden[r][2 * n], expanded[r][c], w.x, w.y);
        multiply_add(hidden[r][2 * n + 1], expanded[r][c], w.z, w.w);
      }
    }
  }
}

// Normals of 8 columns from `column` of one tile, in the accumulator's places; columns from d on are zero.
//
// A Philox call gives four neighbouring dimensions of one row, which two neighbouring lanes hold of two rows: the
// even lane calls it for row g, the odd one for row g + 8 (`seed` and `candidate` are of that row), and they swap
// halves.
__device__ __forceinline__ void draw_columns(int column, int64_t dim, uint32_t key, uint64_t seed, uint64_t candidate,
                                             float (&z)[4]) {
  const bool odd = lane_index() % 2 == 1;
  const int first = column + lane_column();
  uint32_t word[4] = {static_cast<uint32_t>(first / 4), key, static_cast<uint32_t>(candidate),
                      static_cast<uint32_t>(candidate >> 32)};
  philox4x32(word[0], word[1], word[2], word[3], static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const uint32_t given0 = __shfl_xor_sync(0xFFFFFFFFu, odd ? word[0] : word[2], 1);
  const uint32_t given1 = __shfl_xor_sync(0xFFFFFFFFu, odd ? word[1] : word[3], 1);
  const uint32_t own0 = odd ? word[2] : word[0], own1 = odd ? word[3] : word[1];
  normal_pair<float, uint32_t, int32_t>(odd ? given0 : own0, odd ? given1 : own1, z[0], z[1]);
  normal_pair<float, uint32_t, int32_t>(odd ? own0 : given0, odd ? own1 : given1, z[2], z[3]);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (first + i % 2 >= dim) z[i] = 0.0f;
  }
}

}  // namespace
}  // namespace diffhpo
