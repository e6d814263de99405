// SPDX-License-Identifier: Apache-2.0
// The coordinates in which the kernels are isotropic, and what the codes and the context say of them.
#pragma once

#include "cpu/layer_norm.h"
#include "universal/context_codes.h"

namespace diffhpo {
namespace {

DIFFHPO_INLINE double clamped(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

// Hyperparameters of one context: model/universal/predictor.py, `condition`. They are few: in double, by the C library.
void read_kernel_space(const KernelSpaceProblem& p, int64_t context, float* scratch) {
  const UniversalPredictorFields f = fields_of(p.layout);
  const int64_t dims = p.dims, width = p.layout.width;
  const uint8_t* mask = p.mask + context * dims;
  float* of_dimension = scratch;
  float* of_context = scratch + dims * kPanel;
  run(p.weights, f.per_dimension, Activation::none, dims, p.codes + context * dims * width, width, of_dimension,
      kPanel);
  run(p.weights, f.per_context, Activation::none, 1, p.pooled + context * width, 0, of_context, 0);
  int64_t present = 0;
  for (int64_t j = 0; j < dims; ++j) present += mask[j] != 0;
  const double start = __builtin_log(2.0 / __builtin_sqrt(static_cast<double>(present > 1 ? present : 1)));
  for (int64_t j = 0; j < dims; ++j) {
    const float* row = of_dimension + j * kPanel;
    for (int64_t k = 0; k < kProcesses; ++k) {
      const double inverse = __builtin_exp(clamped(row[k] + start, -6.0, 3.5));
      p.inverse[(context * kProcesses + k) * dims + j] = mask[j] != 0 ? static_cast<float>(inverse) : 0.0f;
    }
    for (int64_t e = 0; e < 2; ++e) {
      const double exponent = __builtin_exp(1.1 * __builtin_tanh(row[kProcesses + e]));
      (e == 0 ? p.warp_a : p.warp_b)[context * dims + j] = static_cast<float>(exponent);
    }
  }
  for (int64_t k = 0; k < kProcesses; ++k) {
    const int64_t at = context * kProcesses + k;
    const double amplitude = __builtin_exp(clamped(of_context[k], -4.0, 4.0));
    p.amplitude[at] = static_cast<float>(amplitude);
    p.noise[at] = static_cast<float>(amplitude * __builtin_exp(clamped(of_context[kProcesses + k] - 4.0, -9.0, 1.0)));
    p.constant[at] = of_context[2 * kProcesses + k];
    p.log_prior[at] = of_context[3 * kProcesses + k];
  }
  for (int64_t k = 0; k < kLearned; ++k) {
    const double emphasis = __builtin_exp(clamped(of_context[4 * kProcesses + k] - 1.0, -4.0, 3.0));
    p.emphasis[context * kLearned + k] = static_cast<float>(emphasis);
  }
}

// The context's matrix and shift. Codes of dimensions that are not there are left out.
void write_point_layers(const PointsProblem& p, int64_t context, const PointsScratch& s) {
  const UniversalPredictorFields f = fields_of(p.layout);
  const int64_t width = p.layout.width, narrow = padded(width);
  int64_t dims = 0;
  for (int64_t j = 0; j < p.dims; ++j) {
    if (p.mask[context * p.dims + j] == 0) continue;
    copy_floats(p.codes + (context * p.dims + j) * width, width, s.codes + dims++ * narrow);
  }
  run(p.weights, f.matrix, Activation::none, dims, s.codes, narrow, s.matrix_rows, matrix_outputs(width));
  place_matrix(s.matrix_rows, dims, width, 0, nullptr, s.matrix);
  run(p.weights, f.hidden_shift, Activation::none, 1, p.pooled + context * width, 0, s.shift, 0);
}

// One dimension of the points: warped, times the inverse lengthscale of every kernel.
void place_own_coordinate(const PointsProblem& p, int64_t context, int64_t dim, int64_t first, int64_t rows,
                          const PointsScratch& s) {
  const Vec a = broadcast(p.warp_a[context * p.dims + dim]), b = broadcast(p.warp_b[context * p.dims + dim]);
  for (int64_t i = 0; i < rows; i += kLanes) {
    const Vec inside = at_most(at_least(load(s.column + i), 1e-4f), 1.0f - 1e-4f);
    store(s.warped + i, 1.0f - power(1.0f - power(inside, a), b));
  }
  const int64_t stride = p.dims + kLearned;
  for (int64_t k = 0; k < kProcesses; ++k) {
    const float inverse = p.inverse[(context * kProcesses + k) * p.dims + dim];
    float* to = p.coordinates + ((context * kProcesses + k) * p.points + first) * stride + dim;
    for (int64_t i = 0; i < rows; ++i) to[i * stride] = s.warped[i] * inverse;
  }
}

// The first process sees the configuration alone and has a constant mean.
DIFFHPO_INLINE constexpr float deep(int64_t process) { return process == 0 ? 0.0f : 1.0f; }

void place_learned_coordinates(const PointsProblem& p, int64_t context, int64_t first, int64_t rows,
                               const PointsScratch& s) {
  const int64_t stride = p.dims + kLearned;
  static_assert(kLearned <= kPanel && kPanel % kLanes == 0, "rows of learned coordinates hold whole vectors");
  for (int64_t i = 0; i < rows; ++i) {
    float* row = s.learned + i * kPanel;
    float coordinates[kPanel];
    for (int64_t c = 0; c < kLearned; c += kLanes) store(coordinates + c, hyperbolic_tangent(load(row + c)));
    for (int64_t c = 0; c < kLearned; ++c) coordinates[c] *= p.emphasis[context * kLearned + c];
    for (int64_t k = 0; k < kProcesses; ++k) {
      const int64_t at = (context * kProcesses + k) * p.points + first + i;
      float* to = p.coordinates + at * stride + p.dims;
      for (int64_t c = 0; c < kLearned; ++c) to[c] = deep(k) * coordinates[c];
      p.mean[at] = deep(k) * row[kLearned + k] + p.constant[context * kProcesses + k];
    }
  }
}

void place_tile_of_points(const PointsProblem& p, int64_t context, int64_t first, int64_t rows,
                          const PointsScratch& s) {
  const UniversalPredictorFields f = fields_of(p.layout);
  const int64_t width = p.layout.width, narrow = padded(width), stride = whole_vectors(kBasis * p.dims);
  int64_t dims = 0;
  for (int64_t j = 0; j < p.dims; ++j) {
    if (p.mask[context * p.dims + j] == 0) {
      for (int64_t k = 0; k < kProcesses; ++k) {
        float* to = p.coordinates + ((context * kProcesses + k) * p.points + first) * (p.dims + kLearned) + j;
        for (int64_t i = 0; i < rows; ++i) to[i * (p.dims + kLearned)] = 0.0f;
      }
      continue;
    }
    for (int64_t i = 0; i < rows; ++i) s.column[i] = p.x[(context * p.points + first + i) * p.dims + j];
    place_basis(s.column, rows, s.grid + kBasis * dims++, stride);
    place_own_coordinate(p, context, j, first, rows, s);
  }
  apply({s.matrix, s.zeros, static_cast<int>(kBasis * dims), static_cast<int>(width), Activation::none},
        static_cast<int>(rows), s.grid, stride, s.rows, narrow);
  for (int64_t i = 0; i < rows; ++i) {
    copy_floats(s.rows + i * narrow, width, p.embedded + (context * p.points + first + i) * width);
    for (int64_t c = 0; c < width; c += kLanes) {
      store(s.normed + i * narrow + c, load(s.rows + i * narrow + c) + load(s.shift + c));
    }
  }
  normalise_rows(s.normed, static_cast<int>(rows), static_cast<int>(width), narrow, s.normed);
  run(p.weights, f.hidden, Activation::silu, rows, s.normed, narrow, s.hidden, narrow);
  run(p.weights, f.learned, Activation::none, rows, s.hidden, narrow, s.learned, kPanel);
  place_learned_coordinates(p, context, first, rows, s);
}

}  // namespace
}  // namespace diffhpo
