// SPDX-License-Identifier: Apache-2.0
// The reverse loop on the CPU: a scheduler over tiles of candidates, and the tile's kernel, built once per ISA.
#pragma once

#include <cstdint>

#include "denoise/denoise.h"
#include "denoise/scratch.h"
#include "cpu/worker_threads.h"

namespace diffhpo {

enum class Isa;

// Candidates of one job that stay in cache through all steps.
struct Tile {
  int64_t job;
  int64_t first;  // within the job
  int64_t row;    // of x, where the first candidate goes
  int rows;       // at most kTileRows, and those of the scratch
};

// Returns the index of the first step with a value that is not finite, or kNotDiverged.
using DenoiseTile = int64_t (*)(const DenoiseProblem&, const Tile&, const Scratch&, StopSignal);

#define DIFFHPO_DECLARE_KERNELS(isa)                                                          \
  namespace isa {                                                                             \
  int64_t denoise_tile(const DenoiseProblem&, const Tile&, const Scratch&, StopSignal);       \
  void fill_noise(uint64_t seed, const int64_t* candidates, int64_t count, uint32_t key,      \
                  int64_t dim, float* z);                                                     \
  }
DIFFHPO_DECLARE_KERNELS(portable)
DIFFHPO_DECLARE_KERNELS(avx2)
DIFFHPO_DECLARE_KERNELS(avx512)
// Of these only denoise_tile exists.
DIFFHPO_DECLARE_KERNELS(avx512_int8)
DIFFHPO_DECLARE_KERNELS(avx512_bf16)
#undef DIFFHPO_DECLARE_KERNELS

// Runs all tiles on `threads` threads, the caller's among them. `interrupted` is asked by the caller's thread
// about 50 times a second; when it says true the loop ends and x is unfinished.
// Returns the first diverged step of any candidate, or kNotDiverged.
int64_t denoise_cpu(const DenoiseProblem& problem, Isa isa, int threads, StopSignal interrupted);

// z [count, dim] of candidates [count] at one step key.
void fill_noise(Isa isa, uint64_t seed, const int64_t* candidates, int64_t count, uint32_t key, int64_t dim, float* z);

}  // namespace diffhpo
