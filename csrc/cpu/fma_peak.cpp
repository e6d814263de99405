// SPDX-License-Identifier: Apache-2.0
#include "cpu/fma_peak.h"

#include "cpu/simd.h"

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

namespace diffhpo {
namespace DIFFHPO_ISA {

int64_t multiply_add(int64_t rounds, float* sink) {
  constexpr int kChains = 12;  // more than latency x issue width of any core, fewer than the registers
  Vec sum[kChains];
  for (int chain = 0; chain < kChains; ++chain) sum[chain] = broadcast(static_cast<float>(chain));
  Vec factor = broadcast(*sink), addend = broadcast(1.0f - *sink);
  for (int64_t round = 0; round < rounds; ++round) {
    for (int repeat = 0; repeat < 16; ++repeat) {
#pragma GCC unroll 12
      for (int chain = 0; chain < kChains; ++chain) sum[chain] = fused(sum[chain], factor, addend);
    }
  }
  for (int chain = 0; chain < kChains; ++chain) *sink += sum[chain][0];
  return 2 * rounds * 16 * kChains * kLanes;
}

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
