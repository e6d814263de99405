// SPDX-License-Identifier: Apache-2.0
// The basis of coordinates, and the matrix that the codes write for it.
#pragma once

#include "cpu/dense_layer.h"
#include "cpu/elementary.h"
#include "universal/universal_cpu.h"

namespace diffhpo {
namespace {

// One dimension of `count` points, x at most a vector beyond them readable -> its kBasis columns of grid.
DIFFHPO_INLINE void place_basis(const float* x, int64_t count, float* grid, int64_t stride) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vec t = load(x + i);
    Vec parts[kBasis];
    parts[0] = 2.0f * t - 1.0f;
    for (int octave = 0; octave < 3; ++octave) {
      sine_cosine(static_cast<float>(1 << octave) * t, &parts[4 + octave], &parts[1 + octave]);
    }
    const int64_t some = count - i < kLanes ? count - i : kLanes;
    for (int64_t lane = 0; lane < some; ++lane) {
      float* to = grid + (i + lane) * stride;
      for (int64_t k = 0; k < kBasis; ++k) to[k] = parts[k][lane];
    }
  }
}

// sum_j A(code_j) basis(x_j) / sqrt(d): the layer's outputs for d codes -> panels of one matrix (W, kBasis d + extra),
// of whose last inputs `extra_panels` holds the weights.
DIFFHPO_INLINE void place_matrix(const float* rows, int64_t dims, int64_t width, int64_t extra,
                                 const float* extra_panels, float* to) {
  const int64_t inputs = kBasis * dims + extra, block = kBasis * kPanel;
  const Vec share = broadcast(1.0f / __builtin_sqrtf(static_cast<float>(dims > 1 ? dims : 1)));
  for (int64_t panel = 0; panel < panels(width); ++panel) {
    float* at = to + panel * inputs * kPanel;
    for (int64_t j = 0; j < dims; ++j, at += block) {
      const float* from = rows + j * matrix_outputs(width) + panel * block;
      for (int64_t k = 0; k < block; k += kLanes) store(at + k, load(from + k) * share);
    }
    if (extra > 0) __builtin_memcpy(at, extra_panels + panel * extra * kPanel, sizeof(float) * extra * kPanel);
  }
}

// The layer `dense` of packed weights w on a few rows.
DIFFHPO_INLINE void run(const float* w, const Dense& dense, Activation activation, int64_t rows, const float* in,
                        int64_t in_stride, float* out, int64_t out_stride) {
  apply({w + dense.weight, w + dense.bias, static_cast<int>(dense.inputs), static_cast<int>(dense.outputs),
         activation},
        static_cast<int>(rows), in, in_stride, out, out_stride);
}

}  // namespace
}  // namespace diffhpo
