// SPDX-License-Identifier: Apache-2.0
// The ceiling of the CPU kernels: multiply-adds of one thread on registers alone.
#pragma once

#include <cstdint>

namespace diffhpo {

// Runs `rounds` rounds of independent multiply-adds; returns the floating-point operations done. `sink` keeps the
// compiler from dropping them.
#define DIFFHPO_DECLARE_PEAK(isa) \
  namespace isa {                 \
  int64_t multiply_add(int64_t rounds, float* sink); \
  }
DIFFHPO_DECLARE_PEAK(portable)
DIFFHPO_DECLARE_PEAK(avx2)
DIFFHPO_DECLARE_PEAK(avx512)
#undef DIFFHPO_DECLARE_PEAK

}  // namespace diffhpo
