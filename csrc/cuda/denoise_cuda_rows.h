// SPDX-License-Identifier: Apache-2.0
// Which candidate a row of the batch is, on the device.
#pragma once

#include <cstdint>

namespace diffhpo {
namespace {

struct Row {
  uint64_t seed, candidate;
  int job;
};

// The last job that starts at or before `row`; `table` [jobs, 3] (first row of x, seed, first candidate), jobs > 0.
__device__ inline Row find_row(const int64_t* table, int64_t jobs, int64_t row) {
  int64_t low = 0, high = jobs;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (table[3 * middle] <= row ? low : high) = middle;
  }
  const int64_t* job = table + 3 * low;
  return {static_cast<uint64_t>(job[1]), static_cast<uint64_t>(job[2]) + static_cast<uint64_t>(row - job[0]),
          static_cast<int>(low)};
}

}  // namespace
}  // namespace diffhpo
