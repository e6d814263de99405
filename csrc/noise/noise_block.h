// SPDX-License-Identifier: Apache-2.0
// The noise of a tile: normals of many counters at once, in SIMD lanes. Included by kernels alone.
#pragma once

#include "cpu/simd.h"

#include "noise/philox.h"  // after simd.h: its templates find the vector overloads by name alone

namespace diffhpo {
namespace {

// A lane's place among the kLanes counters drawn together: so that the 4 x 4 transposes of `interleave`, which
// stay within 128 bits, leave the four normals of each counter side by side and the counters in order.
DIFFHPO_INLINE int64_t place(int64_t lane) { return lane % 4 * (kLanes / 4) + lane / 4; }

// z [count, 4] of `count` counters, rounded up to whole vectors.
DIFFHPO_INLINE void draw(const uint32_t* group, const uint32_t* low, const uint32_t* high, int64_t count,
                         uint32_t key, uint64_t seed, float* z) {
  for (int64_t i = 0; i < count; i += kLanes) {
    Vec drawn[4];
    normal4<Vec, UVec, IVec>(load(group + i), broadcast(key), load(low + i), load(high + i), seed, drawn);
    interleave(drawn);
    for (int k = 0; k < 4; ++k) store(z + 4 * i + k * kLanes, drawn[k]);
  }
}

}  // namespace
}  // namespace diffhpo
