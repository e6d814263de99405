// SPDX-License-Identifier: Apache-2.0
// Cuts the candidates of a reverse loop into tiles, picks the kernel's build and spreads the tiles over threads.

#include <algorithm>
#include <atomic>
#include <vector>

#include "denoise/denoise_cpu.h"
#include "denoise/token_panels.h"
#include "cpu/isa.h"

namespace diffhpo {
namespace {

constexpr int64_t kFewestRows = 4;  // a second thread gains nothing on fewer: a row alone costs nearly what two do

// A job's candidates in tiles of nearly equal size, in numbers that the threads can share evenly. Where tiles are
// large they end at whole register tiles, because rows beyond the last one cost more than their share.
std::vector<Tile> cut(const DenoiseProblem& problem, int threads) {
  const int64_t share = (problem.candidates + threads - 1) / threads;
  const int64_t largest = std::min<int64_t>(kTileRows, std::max<int64_t>(kFewestRows, share));
  std::vector<Tile> tiles;
  int64_t row = 0;
  for (int64_t job = 0; job < problem.jobs; ++job) {
    const int64_t count = problem.counts[job];
    int64_t pieces = (count + largest - 1) / largest;
    if (pieces > threads) pieces = (pieces + threads - 1) / threads * threads;
    const int64_t unit = count >= 4 * kTileUnit * pieces ? kTileUnit : 1;
    const int64_t units = (count + unit - 1) / unit;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t from = units * piece / pieces * unit;
      const int64_t to = std::min(count, units * (piece + 1) / pieces * unit);
      tiles.push_back({job, from, row + from, static_cast<int>(to - from)});
    }
    row += count;
  }
  return tiles;
}

DenoiseTile kernel_of(Isa isa, Precision precision) {
#ifdef DIFFHPO_BUILT_BF16
  if (precision == Precision::bf16) return avx512_bf16::denoise_tile;
#endif
#ifdef DIFFHPO_BUILT_INT8
  if (precision == Precision::int8) return avx512_int8::denoise_tile;
#endif
  (void)precision;
  return DIFFHPO_BUILD_OF(isa, denoise_tile);
}

}  // namespace

int64_t denoise_cpu(const DenoiseProblem& given, Isa isa, int threads, StopSignal interrupted) {
  const TokenPanels panels(given);
  DenoiseProblem problem = given;
  problem.key_values = panels.key_values();
  const bool attention = problem.key_values != nullptr;
  const DenoiseTile kernel = kernel_of(isa, problem.precision);
  const std::vector<Tile> tiles = cut(problem, std::max(1, threads));
  int64_t rows = 0;
  for (const Tile& tile : tiles) rows = std::max<int64_t>(rows, tile.rows);
  std::atomic<int64_t> diverged{kNotDiverged};
  // Padding lanes of the scratch are computed with and never read; its zeros keep them finite.
  run_on_threads(static_cast<int64_t>(tiles.size()), threads, divide_scratch(nullptr, problem.layout, rows, attention).size,
                 interrupted, [&](int64_t i, float* scratch, StopSignal stop) {
                   const Scratch divided = divide_scratch(scratch, problem.layout, rows, attention);
                   const int64_t step = kernel(problem, tiles[i], divided, stop);
                   int64_t least = diverged.load();
                   while (step < least && !diverged.compare_exchange_weak(least, step)) {
                   }
                 });
  return diverged.load();
}

void fill_noise(Isa isa, uint64_t seed, const int64_t* candidates, int64_t count, uint32_t key, int64_t dim,
                float* z) {
  DIFFHPO_BUILD_OF(isa, fill_noise)(seed, candidates, count, key, dim, z);
}

}  // namespace diffhpo
