// SPDX-License-Identifier: Apache-2.0
// What timestep, flag and context add to the hidden layer of a block.
#pragma once

#include "denoise/denoise_cpu.h"

namespace diffhpo {
namespace {

constexpr int64_t kStepsAhead = 2;

// s.conditioning [2W] = that of the step + that of the tile's job.
DIFFHPO_INLINE void add_conditioning(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t step,
                                     int64_t branch, int64_t block) {
  const int64_t wide = 2 * p.layout.width;
  const float* of_step = p.step_conditioning + (step * p.layout.blocks + block) * wide;
  const float* of_job = p.job_conditioning + ((tile.job * p.branches + branch) * p.layout.blocks + block) * wide;
  for (int64_t j = 0; j < wide; ++j) s.conditioning[j] = of_step[j] + of_job[j];
  // The table of a thousand steps is a megabyte, read once: for few candidates its latency would count.
  if (step + kStepsAhead < p.steps) {
    const float* ahead = of_step + kStepsAhead * p.layout.blocks * wide;
    for (int64_t j = 0; j < wide; j += 16) __builtin_prefetch(ahead + j);
  }
}

}  // namespace
}  // namespace diffhpo
