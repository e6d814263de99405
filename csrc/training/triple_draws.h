// SPDX-License-Identifier: Apache-2.0
// The Sampler's triples and the noise of one training step: integers and float32 operations that are rounded one by
// one, so that every executor draws the same bits. diffhpo.kernels.training_reference holds the definition in words.
#pragma once

#include "denoise/denoise_cpu.h"
#include "cpu/simd.h"
#include "training/training_scratch.h"

#include "noise/philox.h"  // after simd.h, whose vectors its templates work on

namespace diffhpo {
namespace {

// Second counter word. The reverse loop's are timesteps, far below.
constexpr uint32_t kTripleKey = 0xFFFFFFF0u, kMemberKey = 0xFFFFFFF1u, kJitterKey = 0xFFFFFFF2u,
                   kNoiseKey = 0xFFFFFFF3u;
constexpr int32_t kWithheld = 2;

// Trials of one task.
struct Trials {
  int64_t count;
  const float* x;
  const double* y;
  const int64_t* ranks;
  const int64_t* thresholds;
};

// The first entry above the word: trial i is drawn with probability (thresholds[i] - thresholds[i - 1]) / 2^32.
DIFFHPO_INLINE int32_t drawn_query(const Trials& trials, uint32_t word) {
  int64_t low = 0, high = trials.count - 1;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (trials.thresholds[middle] > static_cast<int64_t>(word)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return static_cast<int32_t>(low);
}

struct RowWords {
  uint32_t query, share, cleared, dropout, jittered, timestep;
};

DIFFHPO_INLINE void draw_members(const TrainingProblem& p, const Trials& trials, const RowWords& words, uint64_t seed,
                                 uint32_t step, uint32_t row, const Draws& d) {
  UVec lanes;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = static_cast<uint32_t>(lane);
  for (int64_t block = 0; 4 * block < trials.count; block += kLanes) {
    UVec word[4] = {lanes + static_cast<uint32_t>(block), broadcast(kMemberKey), broadcast(step), broadcast(row)};
    philox4x32(word[0], word[1], word[2], word[3], static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    for (int lane = 0; lane < kLanes && 4 * (block + lane) < trials.count; ++lane) {
      for (int k = 0; k < 4; ++k) d.words[4 * (block + lane) + k] = word[k][lane];
    }
  }
  const int32_t query = d.query[row];
  const int64_t rank = trials.ranks[query];
  const bool clears = p.balanced && words.cleared < 0x80000000u;
  int32_t* members = d.members + static_cast<int64_t>(row) * trials.count;
  int64_t count = 0;
  bool better = false;
  for (int64_t i = 0; i < trials.count; ++i) {
    const bool above = trials.ranks[i] > rank;
    const bool member = d.words[i] < words.share && !(p.exclude_query && i == query) && !(clears && above);
    members[count] = static_cast<int32_t>(i);
    count += member;
    better |= member && above;
  }
  d.improve[row] = words.dropout < p.flag_dropout_below ? kWithheld : !better;
  d.token_start[row + 1] = d.token_start[row] + 1 + count;
}

// Reflection at 0 and 1: the line folded with period 2.
DIFFHPO_INLINE float reflected(float x) {
  x = x - 2.0f * __builtin_floorf(x * 0.5f);
  return x < 2.0f - x ? x : 2.0f - x;
}

void draw_step(const TrainingProblem& p, const Trials& trials, uint64_t seed, uint32_t step, const Draws& d) {
  const int64_t dim = p.shape.dim;
  d.token_start[0] = 0;
  UVec lanes;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = static_cast<uint32_t>(lane);
  bool any_jitter = false;
  for (int64_t first = 0; first < p.batch; first += kLanes) {
    UVec word[2][4];
    for (uint32_t block = 0; block < 2; ++block) {
      word[block][0] = broadcast(block);
      word[block][1] = broadcast(kTripleKey);
      word[block][2] = broadcast(step);
      word[block][3] = lanes + static_cast<uint32_t>(first);
      philox4x32(word[block][0], word[block][1], word[block][2], word[block][3], static_cast<uint32_t>(seed),
                 static_cast<uint32_t>(seed >> 32));
    }
    for (int64_t row = first; row < p.batch && row < first + kLanes; ++row) {
      const int lane = static_cast<int>(row - first);
      const RowWords words{word[0][0][lane], word[0][1][lane], word[0][2][lane],
                           word[0][3][lane], word[1][0][lane], word[1][1][lane]};
      d.query[row] = drawn_query(trials, words.query);
      d.timestep[row] = static_cast<int32_t>(static_cast<uint64_t>(words.timestep) * p.levels >> 32);
      draw_members(p, trials, words, seed, step, static_cast<uint32_t>(row), d);
      d.counters[row] = static_cast<int64_t>(row) << 32 | step;
      const bool jittered = p.jitter != 0.0 && words.jittered < p.jitter_below;
      any_jitter |= jittered;
      for (int64_t j = 0; j < dim; ++j) {
        d.x[row * dim + j] = trials.x[d.query[row] * dim + j];
        d.jitter[row * dim + j] = jittered ? 1.0f : 0.0f;
      }
    }
  }
  DIFFHPO_ISA::fill_noise(seed, d.counters, p.batch, kNoiseKey, dim, d.eps);
  if (p.jitter == 0.0) return;
  // 2x - 1 moves by `jitter`, so x moves by half of it.
  const float half = static_cast<float>(p.jitter / 2);
  float* normals = d.normals;
  if (any_jitter) DIFFHPO_ISA::fill_noise(seed, d.counters, p.batch, kJitterKey, dim, normals);
  for (int64_t i = 0; i < p.batch * dim; ++i) {
    if (d.jitter[i] != 0.0f) d.x[i] = d.x[i] + normals[i] * half;
    d.x[i] = reflected(d.x[i]);
  }
}

// Mid-rank in [-1, 1] and z-score in [-4, 4] of every member among the members of its row: [T, 2]; 0 at the anchor.
void shape_of_values(const Trials& trials, int64_t batch, const Draws& d, float* values) {
  for (int64_t row = 0; row < batch; ++row) {
    const int64_t start = d.token_start[row], count = d.token_start[row + 1] - start - 1;
    const int32_t* members = d.members + row * trials.count;
    for (int64_t i = 0; i <= trials.count; ++i) d.below[i] = 0;
    double scale = 0.0;
    for (int64_t i = 0; i < count; ++i) {
      ++d.below[trials.ranks[members[i]] + 1];
      const double size = __builtin_fabs(trials.y[members[i]]);
      if (size > scale) scale = size;
    }
    for (int64_t i = 0; i < trials.count; ++i) d.below[i + 1] += d.below[i];
    // Dividing by the largest magnitude first keeps squares of values near the end of the range finite.
    if (scale < 0x1p-1022) scale = 0x1p-1022;
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; ++i) sum += trials.y[members[i]] / scale;
    const double mean = sum / (count > 0 ? count : 1);
    for (int64_t i = 0; i < count; ++i) {
      const double centred = trials.y[members[i]] / scale - mean;
      squares += centred * centred;
    }
    const double deviation = __builtin_sqrt(squares / (count > 0 ? count : 1));
    float* to = values + 2 * start;
    to[0] = to[1] = 0.0f;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t rank = trials.ranks[members[i]];
      const int64_t balance = d.below[rank] - (count - d.below[rank + 1]);
      to[2 * i + 2] = static_cast<float>(static_cast<double>(balance) / (count > 1 ? count - 1 : 1));
      // Below the resolution of the scaled values the spread is rounding, not information.
      double z = deviation > 1e-6 ? (trials.y[members[i]] / scale - mean) / deviation : 0.0;
      z = z < -4.0 ? -4.0 : z > 4.0 ? 4.0 : z;
      to[2 * i + 3] = static_cast<float>(z);
    }
  }
}

}  // namespace
}  // namespace diffhpo
