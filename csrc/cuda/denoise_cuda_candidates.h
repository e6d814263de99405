// SPDX-License-Identifier: Apache-2.0
// The candidates of a warp of the bf16 loop, from their noise to their result, in registers.
#pragma once

#include <climits>

#include "denoise/denoise.h"
#include "cuda/denoise_cuda_rows.h"
#include "cuda/denoise_cuda_step.h"
#include "cuda/denoise_cuda_supply.h"
#include "cuda/denoise_cuda_warp.h"

namespace diffhpo {
namespace {

// kTiles tiles of 16 rows from row `first`, in the accumulators' places.
template <int kDim, int kTiles>
struct Candidates {
  float x[kTiles][kDim / 8][4];
  uint32_t job[kTiles][2];  // offset of the job's part of job_conditioning, of rows g and g + 8

  // `jobs` is the table of denoise_cuda.h, `job_stride` the floats of a job's part.
  __device__ __forceinline__ void start(const DenoiseProblem& p, const int64_t* jobs, uint32_t job_stride,
                                        int64_t first) {
    row_ = first + lane_index() / 4;
    first_bad_ = INT_MAX;
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // Rows beyond the last repeat it, so that none but the caller's can diverge, and are not stored.
        const int64_t row = row_ + 16 * r + 8 * half;
        const Row found = find_row(jobs, p.jobs, row < p.candidates ? row : p.candidates - 1);
        job[r][half] = static_cast<uint32_t>(found.job) * job_stride;
        if (lane_index() % 2 == half) seed_[r] = found.seed, candidate_[r] = found.candidate;
      }
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        draw_columns(8 * n, p.layout.dim, static_cast<uint32_t>(p.keys[0]), seed_[r], candidate_[r], x[r][n]);
      }
    }
  }

  // x_t -> x_prev.
  __device__ __forceinline__ void update(const DenoiseProblem& p, const StepView& now, int step,
                                         const float (&eps)[kTiles][kDim / 8][4]) {
    const StepCoefficients c(now.coefficients);
    const uint32_t key = static_cast<uint32_t>(*now.key);
    float check = 0.0f;  // 0 * value is 0 for a finite value, nan otherwise
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        float z[4] = {};
        if (c.sigma != 0.0f) draw_columns(8 * n, p.layout.dim, key, seed_[r], candidate_[r], z);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          x[r][n][i] = reverse_step(c, p.clip, x[r][n][i], eps[r][n][i], z[i]);
          check = fmaf(eps[r][n][i], 0.0f, fmaf(x[r][n][i], 0.0f, check));
        }
      }
    }
    if (check != 0.0f && first_bad_ == INT_MAX) first_bad_ = step;
  }

  __device__ __forceinline__ void finish(const DenoiseProblem& p, int64_t* diverged) const {
    if (first_bad_ != INT_MAX) atomicMin(reinterpret_cast<long long*>(diverged), static_cast<long long>(first_bad_));
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int64_t row = row_ + 16 * r + i / 2 * 8, column = 8 * n + lane_column() + i % 2;
          if (row < p.candidates && column < p.layout.dim) p.x[row * p.layout.dim + column] = x[r][n][i];
        }
      }
    }
  }

 private:
  int64_t row_;                                // row g of the first tile
  uint64_t seed_[kTiles], candidate_[kTiles];  // of the row whose noise this lane draws
  int first_bad_;                              // step
};

// The layers before and after the residual blocks, in shared memory.
struct HeadView {
  const FragmentLayout& layout;
  const uint4* head;

  __device__ __forceinline__ const float* floats(int64_t at) const { return reinterpret_cast<const float*>(head + at); }

  // Columns of hidden features from `column`.
  template <int kDim, int kTiles, int kColumns>
  __device__ __forceinline__ void input(const float (&x)[kTiles][kDim / 8][4], int column,
                                        float (&hidden)[kTiles][kColumns / 8][4]) const {
    uint32_t in[kTiles][kDim / 16][4];
    to_fragments<kTiles, kDim>(x, in);
    set_bias<false, kTiles, kColumns>(floats(layout.input_bias()) + column, hidden);
    multiply<kTiles, kDim, kColumns>(head + layout.input() + column / 16 * (kDim / 16) * kTileVectors, in, hidden);
  }

  // eps += weight * output.
  template <int kWidth, int kDim, int kTiles>
  __device__ __forceinline__ void output(const uint32_t (&in)[kTiles][kWidth / 16][4], float weight,
                                         float (&eps)[kTiles][kDim / 8][4]) const {
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      float sums[kTiles][2][4];
      set_bias<false, kTiles, 16>(floats(layout.output_bias()) + 16 * n, sums);
      multiply<kTiles, kWidth, 16>(head + layout.output() + n * (kWidth / 16) * kTileVectors, in, sums);
#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
#pragma unroll
        for (int i = 0; i < 8; ++i) eps[r][2 * n + i / 4][i % 4] += weight * sums[r][i / 4][i % 4];
      }
    }
  }
};

// Floats of a job's part of job_conditioning; denoise_cuda_bf16 has checked that all of it has less than 2^32.
__device__ __forceinline__ uint32_t job_floats(const DenoiseProblem& p) {
  return static_cast<uint32_t>(p.branches * p.layout.blocks * 2 * p.layout.width);
}

// What the branch counts in eps.
__device__ __forceinline__ float branch_weight(const DenoiseProblem& p, int branch) {
  return p.branches == 1 ? 1.0f : branch == 0 ? 1.0f + p.guidance : -p.guidance;
}

}  // namespace
}  // namespace diffhpo
