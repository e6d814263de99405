// SPDX-License-Identifier: Apache-2.0
// The bf16 loop for few candidates: the warps of a block share one tile of 16. Each computes a part of the features
// of every layer and gives it to the others through shared memory, as fragments. Sums keep their order, so a
// candidate gets the same bits as from denoise_bf16_kernel.
#pragma once

#include "cuda/denoise_cuda_candidates.h"

namespace diffhpo {
namespace {

// Each takes the same number of 16 hidden features, and of panels.
constexpr int split_warps(int width) { return width == 32 ? 2 : width == 96 ? 3 : 4; }

// Two turns of fragments of up to 2W features; a turn's are read before the barrier of the next one, so the one
// after that may write there again.
constexpr int exchange_bytes(int width) { return 2 * (width / 8) * kTileVectors * 16; }

template <int kWidth>
class Exchange {
 public:
  __device__ explicit Exchange(unsigned char* shared) : turns_(reinterpret_cast<uint4*>(shared)) {}

  // Everyone's `own` fragments of 16 features each, in the order of the warps. All threads of the block together.
  template <int kOwn>
  __device__ __forceinline__ const uint4* share(const uint32_t (&own)[1][kOwn][4]) {
    uint4* turn = turns_ + turn_ * panel_vectors(kWidth);
    turn_ ^= 1;
    const int warp = static_cast<int>(threadIdx.x / 32);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      turn[(warp * kOwn + i) * kTileVectors + lane_index()] = {own[0][i][0], own[0][i][1], own[0][i][2], own[0][i][3]};
    }
    __syncthreads();
    return turn + lane_index();
  }

 private:
  uint4* const turns_;
  int turn_ = 0;
};

__device__ __forceinline__ void load_fragment(const uint4& from, uint32_t (&to)[4]) {
  to[0] = from.x, to[1] = from.y, to[2] = from.z, to[3] = from.w;
}

template <int kWidth, int kDim>
__global__ void __launch_bounds__(32 * split_warps(kWidth))
    denoise_split_kernel(DenoiseProblem p, SharedPlacement place, const uint4* fragments, const int64_t* jobs,
                         int64_t* diverged) {
  DIFFHPO_DYNAMIC_SHARED(shared);
  constexpr int kWarps = split_warps(kWidth), kColumns = kWidth / kWarps, kPanels = kWidth / 8 / kWarps;
  static_assert(kColumns % 16 == 0 && kPanels * kWarps * 8 == kWidth, "a warp takes whole tiles and panels");
  const int warp = static_cast<int>(threadIdx.x / 32), column = warp * kColumns;
  const HeadView head{place.layout, reinterpret_cast<const uint4*>(shared)};
  Supply supply(p, place, fragments, shared, p.steps);
  Exchange<kWidth> exchange(shared + place.size());

  // All warps hold all of x, and update it alike.
  Candidates<kDim, 1> candidates;
  candidates.start(p, jobs, job_floats(p), static_cast<int64_t>(blockIdx.x) * 16);
  for (int step = 0; step < p.steps; ++step) {
    const StepView now = supply.next_step();
    const uint4* network = supply.panels(0, true);
    float eps[1][kDim / 8][4] = {};
    for (int branch = 0; branch < p.branches; ++branch) {
      float hidden[1][kColumns / 8][4];
      head.input<kDim, 1, kColumns>(candidates.x, column, hidden);
      uint32_t own[1][kColumns / 16][4], in[1][kWidth / 16][4];
      for (int block = 0; block <= place.layout.blocks; ++block) {
        to_fragments<1, kColumns>(hidden, own);
        const uint4* shared_hidden = exchange.template share<kColumns / 16>(own);
#pragma unroll
        for (int k = 0; k < kWidth / 16; ++k) load_fragment(shared_hidden[k * kTileVectors], in[0][k]);
        if (block == place.layout.blocks) break;

        const uint4* panels = network + block * (kWidth / 8) * panel_vectors(kWidth);
        const int64_t conditioning = (branch * place.layout.blocks + block) * 2 * kWidth;
        const int feature = 16 * warp * kPanels;
        uint32_t expanded[1][kPanels][4];
        expand<kPanels, 1, kWidth>(panels + warp * kPanels * panel_vectors(kWidth),
                                   now.conditioning + block * 2 * kWidth + feature,
                                   p.job_conditioning + conditioning + feature, candidates.job, in, expanded);
        set_bias<true, 1, kColumns>(head.floats(place.layout.contract_bias()) + block * kWidth + column, hidden);
        const uint4* shared_expanded = exchange.template share<kPanels>(expanded);
#pragma unroll
        for (int panel = 0; panel < kWidth / 8; ++panel) {
          uint32_t one[1][1][4];
          load_fragment(shared_expanded[panel * kTileVectors], one[0][0]);
          contract<1, 1, kWidth, kColumns>(panels + panel * panel_vectors(kWidth), column, one, hidden);
        }
      }
      head.output<kWidth, kDim, 1>(in, branch_weight(p, branch), eps);
    }
    candidates.update(p, now, step, eps);
  }
  if (warp == 0) candidates.finish(p, diverged);
  supply.finish();
}

}  // namespace
}  // namespace diffhpo
