// SPDX-License-Identifier: Apache-2.0
// The kernels' noise by itself, for training and for tests. Compiled once per ISA into the namespace DIFFHPO_ISA.

#include "denoise/denoise_cpu.h"
#include "noise/noise_block.h"

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

namespace diffhpo {
namespace DIFFHPO_ISA {

void fill_noise(uint64_t seed, const int64_t* candidates, int64_t count, uint32_t key, int64_t dim, float* z) {
  const int64_t groups = noise_groups(dim);
  uint32_t group[kLanes], low[kLanes], high[kLanes];
  float drawn[4 * kLanes];
  for (int64_t i = 0; i < count * groups; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const int64_t counter = i + place(lane) < count * groups ? i + place(lane) : i;
      const uint64_t candidate = static_cast<uint64_t>(candidates[counter / groups]);
      group[lane] = static_cast<uint32_t>(counter % groups);
      low[lane] = static_cast<uint32_t>(candidate);
      high[lane] = static_cast<uint32_t>(candidate >> 32);
    }
    draw(group, low, high, kLanes, key, seed, drawn);
    for (int64_t counter = i; counter < i + kLanes && counter < count * groups; ++counter) {
      for (int64_t word = 0; word < 4; ++word) {
        const int64_t j = counter % groups * 4 + word;
        if (j < dim) z[counter / groups * dim + j] = drawn[4 * (counter - i) + word];
      }
    }
  }
}

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
