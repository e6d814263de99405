// SPDX-License-Identifier: Apache-2.0
// Forward and backward of a dense layer, and of a layer norm that is folded into the dense layer behind it.
//
// With y = scale * n + shift and n the normalised input, W y + b = (W scale) n + (b + W shift): so only n is kept, and
// the gradients of W, scale and shift all follow from that of the folded matrix.
#pragma once

#include "cpu/matrix_product.h"
#include "cpu/row_reductions.h"
#include "training/training_scratch.h"

namespace diffhpo {
namespace {

constexpr float kNormEpsilon = 1e-5f;

// out = initial + in W^T, from the transposed table.
DIFFHPO_INLINE void apply_dense(const TrainingScratch& s, const Parameter& w, int64_t rows, const float* in,
                                int64_t in_stride, Initial initial, Rows out) {
  multiply(rows, whole(w.rows.extent()), w.columns.extent(), by_rows(in, in_stride),
           panels_of(s.transposed + w.at.transposed, w.stride()), initial, out);
}

// in_gradient = initial + out_gradient W.
DIFFHPO_INLINE void pull_back(const float* weights, const Parameter& w, int64_t rows, const float* out_gradient,
                              int64_t stride, Initial initial, Rows in_gradient) {
  multiply(rows, w.stride(), w.rows.extent(), by_rows(out_gradient, stride), rows_of(weights + w.at.packed, w.stride()),
           initial, in_gradient);
}

DIFFHPO_INLINE void weight_gradient(const TrainingScratch& s, const Parameter& w, int64_t rows,
                                    const float* out_gradient, int64_t stride, const float* in, int64_t in_stride) {
  multiply(w.rows.extent(), w.stride(), rows, by_columns(out_gradient, stride), rows_of(in, in_stride), kZero,
           {s.gradients + w.at.packed, w.stride()});
}

DIFFHPO_INLINE void dense_gradients(const TrainingScratch& s, const DenseParameters& d, int64_t rows,
                                    const float* out_gradient, int64_t stride, const float* in, int64_t in_stride) {
  weight_gradient(s, d.weight, rows, out_gradient, stride, in, in_stride);
  add_rows(rows, d.bias.stride(), out_gradient, stride, s.gradients + d.bias.at.packed);
}

void transpose_weight(const TrainingScratch& s, const float* weights, const Parameter& w) {
  transpose_to_panels(w.rows.extent(), w.stride(), weights + w.at.packed, w.stride(), w.stride(),
                      s.transposed + w.at.transposed);
}

void fold_norm(const TrainingScratch& s, const Parameter& scale, const Parameter& shift, const DenseParameters& d) {
  const Parameter& w = d.weight;
  const float* bias = s.weights + d.bias.at.packed;
  for (int64_t o = 0; o < w.rows.extent(); ++o) {
    const float* from = s.weights + w.at.packed + o * w.stride();
    float* to = s.folded + w.at.packed + o * w.stride();
    Vec moved = {};
    for (int64_t c = 0; c < w.stride(); c += kLanes) {
      const Vec value = load(from + c);
      store(to + c, value * load(s.weights + scale.at.packed + c));
      moved = fused(value, load(s.weights + shift.at.packed + c), moved);
    }
    s.folded_bias[d.bias.at.packed + o] = bias[o] + lane_sum(moved);
  }
  transpose_weight(s, s.folded, w);
}

// The gradient of the folded matrix, in the place of W's, and that of the bias -> those of W, scale and shift.
void unfold_norm(const TrainingScratch& s, const Parameter& scale, const Parameter& shift, const DenseParameters& d) {
  const Parameter& w = d.weight;
  const float* bias_gradient = s.gradients + d.bias.at.packed;
  for (int64_t c = 0; c < w.stride(); c += kLanes) {
    const Vec scales = load(s.weights + scale.at.packed + c), shifts = load(s.weights + shift.at.packed + c);
    Vec of_scale = {}, of_shift = {};
    for (int64_t o = 0; o < w.rows.extent(); ++o) {
      float* gradient = s.gradients + w.at.packed + o * w.stride() + c;
      const Vec weight = load(s.weights + w.at.packed + o * w.stride() + c), folded = load(gradient);
      const Vec bias = broadcast(bias_gradient[o]);
      of_scale = fused(weight, folded, of_scale);
      of_shift = fused(weight, bias, of_shift);
      store(gradient, fused(folded, scales, bias * shifts));
    }
    store(s.gradients + scale.at.packed + c, of_scale);
    store(s.gradients + shift.at.packed + c, of_shift);
  }
}

// normed = (token - mean) * scale, scale = 1 / sqrt(variance + epsilon), over `width` features; zero in the padding.
void normalise(const TrainingScratch& s, int64_t tokens, int64_t width, float* normed, float* scale) {
  const int64_t stride = whole(width);
  const float share = 1.0f / static_cast<float>(width);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* from = s.tokens + t * stride;
    float* to = normed + t * stride;
    Vec sum = {}, squares = {};
    for (int64_t c = 0; c < stride; c += kLanes) sum = sum + load(from + c);
    const Vec mean = broadcast(lane_sum(sum) * share);
    for (int64_t c = 0; c < stride; c += kLanes) {
      const Vec centred = (load(from + c) - mean) * load(s.column_mask + c);
      squares = fused(centred, centred, squares);
      store(to + c, centred);
    }
    const float factor = 1.0f / __builtin_sqrtf(lane_sum(squares) * share + kNormEpsilon);
    for (int64_t c = 0; c < stride; c += kLanes) store(to + c, load(to + c) * factor);
    scale[t] = factor;
  }
}

// token_gradient += scale (g - mean(g) - normed mean(g normed)), g in normed_gradient.
void normalise_backward(const TrainingScratch& s, int64_t tokens, int64_t width, const float* normed,
                        const float* scale) {
  const int64_t stride = whole(width);
  const float share = 1.0f / static_cast<float>(width);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* gradient = s.normed_gradient + t * stride;
    const float* of = normed + t * stride;
    float* to = s.token_gradient + t * stride;
    Vec sum = {}, products = {};
    for (int64_t c = 0; c < stride; c += kLanes) {
      sum = sum + load(gradient + c);
      products = fused(load(gradient + c), load(of + c), products);
    }
    const Vec mean = broadcast(lane_sum(sum) * share), along = broadcast(lane_sum(products) * share);
    for (int64_t c = 0; c < stride; c += kLanes) {
      const Vec g = (load(gradient + c) - mean) * load(s.column_mask + c) - load(of + c) * along;
      store(to + c, fused(g, broadcast(scale[t]), load(to + c)));
    }
  }
}

// values -> silu(values) in `hidden` and its derivative in their own place; count a multiple of kRowMultiple.
DIFFHPO_INLINE void activate(int64_t count, float* values, float* hidden) {
  for (int64_t i = 0; i < count; i += kLanes) {
    Vec slope;
    store(hidden + i, silu(load(values + i), &slope));
    store(values + i, slope);
  }
}

}  // namespace
}  // namespace diffhpo
