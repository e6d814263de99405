// SPDX-License-Identifier: Apache-2.0
// The reverse loop of one tile of candidates. Compiled once per ISA and precision into the namespace DIFFHPO_ISA.

#include "denoise/denoise_cpu.h"

#include "cpu/dense_layer.h"
#include "denoise/step_coefficients.h"
#include "noise/noise_block.h"
#include "cpu/simd.h"

// One precision of the residual blocks.
#if defined(DIFFHPO_INT8)
#include "denoise/residual_block_int8.h"
#elif defined(DIFFHPO_BF16)
#include "denoise/residual_block_bf16.h"
#else
#include "denoise/residual_block.h"
#endif

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

namespace diffhpo {
namespace {

// Noise counters of rows * groups pairs (candidate, group of four dimensions), lane by lane.
void fill_counters(const Scratch& s, int64_t rows, int64_t groups, int64_t first) {
  for (int64_t i = 0; i < rows * groups; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const int64_t counter = i + place(lane);
      const uint64_t candidate = static_cast<uint64_t>(first + counter / groups);
      s.group[i + lane] = static_cast<uint32_t>(counter % groups);
      s.low[i + lane] = static_cast<uint32_t>(candidate);
      s.high[i + lane] = static_cast<uint32_t>(candidate >> 32);
    }
  }
}

DIFFHPO_INLINE bool all_zero(Vec v) {
  float sum = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) sum += v[lane];
  return sum == 0.0f;
}

DIFFHPO_INLINE Vec estimate(const StepCoefficients& c, Vec x, Vec eps) {
  const Vec product = eps * broadcast(c.x0_from_eps);
  const Vec error = fused(eps, broadcast(c.x0_from_eps), -product);
  const Vec residue = fused(x, broadcast(c.x0_from_x_residue), -fused(eps, broadcast(c.x0_from_eps_residue), error));
  return fused(x, broadcast(c.x0_from_x), -product) + residue;
}

// x_t -> x_prev in place; false if a value is not finite.
bool update(const DenoiseProblem& p, const Scratch& s, int rows, const StepCoefficients& c) {
  const int64_t dim = p.layout.dim, stride = padded(dim), noise_stride = 4 * noise_groups(dim);
  Vec check = {};  // 0 * x is 0 for finite x, nan otherwise
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < dim; j += kLanes) {
      float* at = s.x + row * stride + j;
      Vec eps = load(s.eps + row * stride + j);
      if (p.branches == 2) {
        const Vec without = load(s.eps + (s.rows + row) * stride + j);
        eps = eps * broadcast(1.0f + p.guidance) - without * broadcast(p.guidance);
      }
      const Vec x = load(at);
      Vec x0 = estimate(c, x, eps);
      if (p.clip) x0 = at_most(at_least(x0, -1.0f), 1.0f);
      Vec next = fused(x0, broadcast(c.x0_weight), x * broadcast(c.x_weight));
      if (c.sigma != 0.0f) next = fused(load(s.noise + row * noise_stride + j), broadcast(c.sigma), next);
      check = check + (eps * 0.0f + next * 0.0f);
      store(at, next);
    }
  }
  return all_zero(check);
}

// One branch of eps = network(x).
void predict(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t step, int64_t branch) {
  const NetworkLayout& layout = p.layout;
  const int width = static_cast<int>(layout.width), dim = static_cast<int>(layout.dim), rows = tile.rows;
  const int64_t narrow = padded(width), x_stride = padded(dim);
  const float* w = p.weights;
  apply({w + layout.input_weight(), w + layout.input_bias(), dim, width, Activation::none}, rows, s.x, x_stride,
        s.hidden, narrow);
  for (int64_t b = 0; b < layout.blocks; ++b) apply_block(p, s, tile, step, branch, b);
  apply({w + layout.output_weight(), w + layout.output_bias(), width, dim, Activation::none}, rows, s.hidden, narrow,
        s.eps + branch * s.rows * x_stride, x_stride);
}

}  // namespace

namespace DIFFHPO_ISA {

int64_t denoise_tile(const DenoiseProblem& p, const Tile& tile, const Scratch& s, StopSignal stop) {
  const int64_t dim = p.layout.dim, stride = padded(dim), groups = noise_groups(dim);
  const int64_t count = tile.rows * groups;
  const uint64_t seed = static_cast<uint64_t>(p.seeds[tile.job]);
  fill_counters(s, tile.rows, groups, p.first_candidates[tile.job] + tile.first);
  draw(s.group, s.low, s.high, count, static_cast<uint32_t>(p.keys[0]), seed, s.noise);
  for (int64_t row = 0; row < tile.rows; ++row) {
    // Padding lanes run through the update as well and must not carry over from tile to tile.
    for (int64_t j = 0; j < stride; ++j) s.x[row * stride + j] = j < dim ? s.noise[row * 4 * groups + j] : 0.0f;
  }
  for (int64_t step = 0; step < p.steps; ++step) {
    if (stop.stopped(stop.state)) return kNotDiverged;
    const StepCoefficients c(p.coefficients + 5 * step);
    for (int64_t branch = 0; branch < p.branches; ++branch) predict(p, s, tile, step, branch);
    if (c.sigma != 0.0f) {
      draw(s.group, s.low, s.high, count, static_cast<uint32_t>(p.keys[1 + step]), seed, s.noise);
    }
    if (!update(p, s, tile.rows, c)) return step;
  }
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t j = 0; j < dim; ++j) p.x[(tile.row + row) * dim + j] = s.x[row * stride + j];
  }
  return kNotDiverged;
}

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
