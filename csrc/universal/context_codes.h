// SPDX-License-Identifier: Apache-2.0
// Codes of the dimensions and tokens of the trials of one context, before and after the encoder.
#pragma once

#include "cpu/layer_norm.h"
#include "cpu/matrix_product.h"
#include "cpu/softmax.h"
#include "universal/coordinate_basis.h"

namespace diffhpo {
namespace {

DIFFHPO_INLINE void copy_floats(const float* from, int64_t count, float* to) {
  __builtin_memcpy(to, from, sizeof(float) * count);
}

// to [columns] = mean of `rows` rows, 0 if there are none; whole vectors of both are touched.
DIFFHPO_INLINE void mean_of_rows(const float* from, int64_t stride, int64_t rows, int64_t columns, float* to) {
  const Vec share = broadcast(rows > 0 ? 1.0f / static_cast<float>(rows) : 0.0f);
  for (int64_t c = 0; c < columns; c += kLanes) {
    Vec sum = {};
    for (int64_t row = 0; row < rows; ++row) sum = sum + load(from + row * stride + c);
    store(to + c, sum * share);
  }
}

// The sum of the three rows of a table that tag a dimension.
DIFFHPO_INLINE void add_tags(const float* table, int64_t stride, const int32_t* tags, int64_t columns,
                             const float* initial, float* to) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vec sum = load(table + tags[0] * stride + c) + load(table + tags[1] * stride + c) +
                    load(table + tags[2] * stride + c);
    store(to + c, initial == nullptr ? sum : load(initial + c) + sum);
  }
}

// s.shares: scores (m rows, `stride` apart) of `heads` heads -> their softmax over trials, and a row of 1 / m.
DIFFHPO_INLINE void share_trials(const float* scores, int64_t stride, int64_t trials, int64_t heads,
                                 const EmbedScratch& s) {
  for (int64_t head = 0; head < heads; ++head) {
    float* row = s.shares + head * s.share_stride;
    for (int64_t i = 0; i < trials; ++i) row[i] = scores[i * stride + head];
    if (trials > 0) softmax(row, static_cast<int>(trials));
  }
  float* equal = s.shares + heads * s.share_stride;
  for (int64_t i = 0; i < trials; ++i) equal[i] = 1.0f / static_cast<float>(trials);
}

void run_perceptron(const float* w, const Perceptron& perceptron, Activation last, int64_t rows, const float* in,
                    int64_t in_stride, float* wide, float* out, int64_t out_stride) {
  const int64_t wide_stride = padded(perceptron.expand.outputs);
  run(w, perceptron.expand, Activation::silu, rows, in, in_stride, wide, wide_stride);
  run(w, perceptron.contract, last, rows, wide, wide_stride, out, out_stride);
}

// codes += the perceptron of rows `in` and of what they share.
void add_shared_perceptron(const float* w, const SharedPerceptron& perceptron, int64_t rows, const float* in,
                           int64_t in_stride, const float* shared, const EmbedScratch& s, int64_t codes_stride) {
  const int64_t wide_stride = padded(perceptron.shared.outputs);
  run(w, perceptron.shared, Activation::none, 1, shared, 0, s.initial, 0);
  apply({w + perceptron.own, s.initial, static_cast<int>(perceptron.own_inputs),
         static_cast<int>(perceptron.shared.outputs), Activation::silu},
        static_cast<int>(rows), in, in_stride, s.wide, wide_stride);
  run(w, perceptron.contract, Activation::residual, rows, s.wide, wide_stride, s.codes, codes_stride);
}

// codes += the perceptron of each beside the mean of all.
void mix_codes(const float* w, const SharedPerceptron& perceptron, int64_t dims, int64_t width,
               const EmbedScratch& s) {
  const int64_t narrow = padded(width);
  mean_of_rows(s.codes, narrow, dims, width, s.mean);
  add_shared_perceptron(w, perceptron, dims, s.codes, narrow, s.mean, s, narrow);
}

// Rows -> layer norm with scale and shift, in place.
DIFFHPO_INLINE void normalise_and_scale(float* rows, int64_t count, int64_t width, int64_t stride,
                                        const float* scale, const float* shift) {
  normalise_rows(rows, static_cast<int>(count), static_cast<int>(width), stride, rows);
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t c = 0; c < width; c += kLanes) {
      float* at = rows + row * stride + c;
      store(at, fused(load(at), load(scale + c), load(shift + c)));
    }
  }
}

// A dimension's look at its own column: mean and attended cells -> the first inputs of its code.
void look_at_column(const UniversalEncoderLayout& layout, const UniversalEncoderFields& f, const float* w,
                    const PresentContext& context, int64_t dim, const EmbedScratch& s) {
  const int64_t cell = layout.cell(), features = cell / layout.heads, trials = context.trials;
  const int64_t cell_stride = padded(cell), cells_stride = padded(cell + layout.heads), row_stride = 16;
  for (int64_t i = 0; i < trials; ++i) {
    float* row = s.cell_rows + i * row_stride;
    copy_floats(s.grid + i * s.grid_stride + dim * kBasis, kBasis, row);
    copy_floats(context.values + i * kValueFeatures, kValueFeatures, row + kBasis);
  }
  add_tags(w + f.cell_tags, cell_stride, context.tags + 3 * dim, cell, w + f.cell.bias, s.initial);
  apply({w + f.cell.weight, s.initial, static_cast<int>(f.cell.inputs), static_cast<int>(cell), Activation::silu},
        static_cast<int>(trials), s.cell_rows, row_stride, s.hidden, cell_stride);
  run(w, f.cell_output, Activation::none, trials, s.hidden, cell_stride, s.cells, cells_stride);
  share_trials(s.cells + cell, cells_stride, trials, layout.heads, s);
  multiply(layout.heads + 1, whole(cell), trials, by_rows(s.shares, s.share_stride), rows_of(s.cells, cells_stride),
           kZero, {s.attended, cell_stride});
  float* to = s.code_rows + dim * s.code_stride;
  copy_floats(s.attended + layout.heads * cell_stride, cell, to);
  for (int64_t head = 0; head < layout.heads; ++head) {
    copy_floats(s.attended + head * cell_stride + head * features, features, to + cell + head * features);
  }
}

void first_codes_and_tokens(const UniversalEncoderLayout& layout, const float* w, const PresentContext& context,
                            const EmbedScratch& s) {
  const UniversalEncoderFields f = fields_of(layout);
  const int64_t width = layout.width, narrow = padded(width), trials = context.trials, dims = context.dims;
  const int64_t value_column = kBasis * dims;
  for (int64_t i = 0; i < trials; ++i) {
    copy_floats(context.values + i * kValueFeatures, kValueFeatures, s.grid + i * s.grid_stride + value_column);
  }
  for (int64_t j = 0; j < dims; ++j) {
    for (int64_t i = 0; i < trials; ++i) s.rows[i] = context.x[i * dims + j];
    place_basis(s.rows, trials, s.grid + j * kBasis, s.grid_stride);
    add_tags(w + f.tags, narrow, context.tags + 3 * j, width, nullptr, s.mean);
    copy_floats(s.mean, width, s.code_rows + j * s.code_stride + 2 * layout.cell());
  }
  for (int64_t j = 0; j < dims; ++j) look_at_column(layout, f, w, context, j, s);
  run_perceptron(w, f.first_code, Activation::none, dims, s.code_rows, s.code_stride, s.wide, s.codes, narrow);
  mix_codes(w, f.first_mix, dims, width, s);

  const EncoderLayout encoder = layout.encoder();
  run(w, f.matrix, Activation::none, dims, s.codes, narrow, s.matrix_rows, matrix_outputs(width));
  place_matrix(s.matrix_rows, dims, width, kValueFeatures, w + f.values, s.matrix);
  copy_floats(w + f.encoder + encoder.anchor(), width, s.tokens);
  apply({s.matrix, w + f.encoder + encoder.token_bias(), static_cast<int>(value_column + kValueFeatures),
         static_cast<int>(width), Activation::none},
        static_cast<int>(trials), s.grid, s.grid_stride, s.rows, narrow);
  for (int64_t i = 0; i < trials; ++i) copy_floats(s.rows + i * narrow, width, s.tokens + (i + 1) * width);
}

void last_codes_and_tokens(const UniversalEncoderLayout& layout, const float* w, const PresentContext& context,
                           const EmbedScratch& s) {
  const UniversalEncoderFields f = fields_of(layout);
  const int64_t width = layout.width, narrow = padded(width), trials = context.trials, dims = context.dims;
  for (int64_t i = 0; i <= trials; ++i) copy_floats(s.tokens + i * width, width, s.rows + i * narrow);
  normalise_and_scale(s.rows, trials + 1, width, narrow, w + f.token_scale, w + f.token_shift);
  for (int64_t i = 0; i <= trials; ++i) copy_floats(s.rows + i * narrow, width, s.tokens + i * width);

  const int64_t heads = 2 * layout.heads;
  run(w, f.trial_score, Activation::none, trials, s.rows + narrow, narrow, s.cells, padded(heads));
  share_trials(s.cells, padded(heads), trials, heads, s);
  multiply(heads + 1, whole(kBasis * dims), trials, by_rows(s.shares, s.share_stride),
           rows_of(s.grid, s.grid_stride), kZero, {s.views, s.grid_stride});
  for (int64_t j = 0; j < dims; ++j) {
    float* to = s.code_rows + j * s.code_stride;
    for (int64_t head = 0; head <= heads; ++head) {
      copy_floats(s.views + head * s.grid_stride + j * kBasis, kBasis, to + head * kBasis);
    }
    copy_floats(s.codes + j * narrow, width, to + layout.views());
  }
  add_shared_perceptron(w, f.second_code, dims, s.code_rows, s.code_stride, s.rows, s, narrow);
  mix_codes(w, f.second_mix, dims, width, s);
  normalise_and_scale(s.codes, dims, width, narrow, w + f.code_scale, w + f.code_shift);

  copy_floats(s.rows, width, s.joined);
  mean_of_rows(s.rows + narrow, narrow, trials, width, s.mean);
  copy_floats(s.mean, width, s.joined + width);
  mean_of_rows(s.codes, narrow, dims, width, s.mean);
  copy_floats(s.mean, width, s.joined + 2 * width);
  run_perceptron(w, f.pool, Activation::none, 1, s.joined, 0, s.wide, s.pooled, 0);
}

}  // namespace
}  // namespace diffhpo
