// SPDX-License-Identifier: Apache-2.0
// Self-attention among the tokens of each row, forward and backward.
//
// Matrices of scores are kept transposed, [keys, queries]: maxima and sums over the keys then run down the lanes, and
// what a lane beyond the last query computes is never read.
#pragma once

#include "cpu/matrix_product.h"
#include "cpu/row_reductions.h"
#include "training/training_scratch.h"

namespace diffhpo {
namespace {

// One row's tokens.
struct Span {
  int64_t start, count;

  DIFFHPO_INLINE int64_t stride() const { return whole(count); }
};

DIFFHPO_INLINE Span span_of(const TrainingScratch& s, int64_t row) {
  const int64_t start = s.draws.token_start[row];
  return {start, s.draws.token_start[row + 1] - start};
}

// softmax(scale s) over the keys, in place.
DIFFHPO_INLINE void softmax(const Span& span, float scale, float* scores) {
  const int64_t stride = span.stride();
  for (int64_t i = 0; i < stride; i += kLanes) {
    Vec top = load(scores + i), sum = {};
    for (int64_t key = 1; key < span.count; ++key) top = greater(top, load(scores + key * stride + i));
    for (int64_t key = 0; key < span.count; ++key) {
      float* at = scores + key * stride + i;
      const Vec value = exponential(at_least((load(at) - top) * scale, -87.0f));
      sum = sum + value;
      store(at, value);
    }
    const Vec share = divide(broadcast(1.0f), sum);
    for (int64_t key = 0; key < span.count; ++key) {
      float* at = scores + key * stride + i;
      store(at, load(at) * share);
    }
  }
}

// Gradient of the weights -> gradient of the scores, in place: scale P (g - sum over keys of P g).
DIFFHPO_INLINE void softmax_backward(const Span& span, float scale, const float* weights, float* gradient) {
  const int64_t stride = span.stride();
  for (int64_t i = 0; i < stride; i += kLanes) {
    Vec sum = {};
    for (int64_t key = 0; key < span.count; ++key) {
      sum = fused(load(weights + key * stride + i), load(gradient + key * stride + i), sum);
    }
    for (int64_t key = 0; key < span.count; ++key) {
      float* at = gradient + key * stride + i;
      store(at, (load(at) - sum) * load(weights + key * stride + i) * scale);
    }
  }
}

DIFFHPO_INLINE float score_scale(const TrainingShape& shape) {
  return 1.0f / __builtin_sqrtf(static_cast<float>(shape.head()));
}

void attend(const TrainingShape& shape, const TrainingScratch& s, const EncoderActivations& a, int64_t row) {
  const Span span = span_of(s, row);
  const int64_t all = shape.attended(), head = whole(shape.head()), stride = span.stride();
  const float* query = a.projected + span.start * 3 * all;
  const float *key = query + all, *value = query + 2 * all;
  transpose(span.count, all, query, 3 * all, s.head_columns, stride);
  for (int64_t h = 0; h < shape.heads; ++h) {
    float* scores = a.attention + s.attention_start[row] + h * span.count * stride;
    multiply(span.count, stride, shape.head(), by_rows(key + h * head, 3 * all),
             rows_of(s.head_columns + h * head * stride, stride), kZero, {scores, stride});
    softmax(span, score_scale(shape), scores);
    multiply(span.count, head, span.count, by_columns(scores, stride), rows_of(value + h * head, 3 * all), kZero,
             {a.attended + span.start * all + h * head, all});
  }
}

// attended_gradient -> projected_gradient.
void attend_backward(const TrainingShape& shape, const TrainingScratch& s, const EncoderActivations& a, int64_t row) {
  const Span span = span_of(s, row);
  const int64_t all = shape.attended(), head = whole(shape.head()), stride = span.stride();
  const float* query = a.projected + span.start * 3 * all;
  const float *key = query + all, *value = query + 2 * all;
  const float* gradient = s.attended_gradient + span.start * all;
  float* query_gradient = s.projected_gradient + span.start * 3 * all;
  float *key_gradient = query_gradient + all, *value_gradient = query_gradient + 2 * all;
  transpose(span.count, all, gradient, all, s.head_columns, stride);
  for (int64_t h = 0; h < shape.heads; ++h) {
    const int64_t at = h * head;
    const float* weights = a.attention + s.attention_start[row] + h * span.count * stride;
    multiply(span.count, stride, shape.head(), by_rows(value + at, 3 * all),
             rows_of(s.head_columns + at * stride, stride), kZero, {s.head_gradient, stride});
    softmax_backward(span, score_scale(shape), weights, s.head_gradient);
    multiply(span.count, head, span.count, by_rows(weights, stride), rows_of(gradient + at, all), kZero,
             {value_gradient + at, 3 * all});
    multiply(span.count, head, span.count, by_rows(s.head_gradient, stride), rows_of(query + at, 3 * all), kZero,
             {key_gradient + at, 3 * all});
    multiply(span.count, head, span.count, by_columns(s.head_gradient, stride), rows_of(key + at, 3 * all), kZero,
             {query_gradient + at, 3 * all});
  }
}

}  // namespace
}  // namespace diffhpo
