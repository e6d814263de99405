// SPDX-License-Identifier: Apache-2.0
// Attention of a tile of rows to one context, streaming over chunks of its tokens.
#pragma once

#include "attention/attention_cpu.h"
#include "attention/attention_weights.h"
#include "cpu/dense_layer.h"
#include "cpu/simd.h"
#include "cpu/softmax.h"

namespace diffhpo {
namespace {

void multiply(float* row, int64_t count, float factor) {
  for (int64_t j = 0; j < count; j += kLanes) store(row + j, load(row + j) * factor);
}

// One head's share of a context: its keys, and where its values begin within those of a chunk.
struct Head {
  Head(const BlockLayout& block, const KeyValues& context, int64_t count, int64_t head)
      : count(count),
        features(static_cast<int>(block.features())),
        stride(static_cast<int>(block.stride())),
        value_panels(panels(block.key_heads() * block.stride())),
        first_value((block.shared ? 0 : head) * block.stride()),
        keys(context.keys + (block.shared ? 0 : head) * head_keys_size(block, count)),
        values(context.values) {}

  const float* keys_of(int64_t begin) const { return keys + begin * features; }
  const float* values_of(int64_t begin, int64_t size) const {
    return values + begin * value_panels * kPanel + first_value / kPanel * size * kPanel + first_value % kPanel;
  }

  int64_t count;
  int features, stride;
  int64_t value_panels, first_value;
  const float* keys;
  const float* values;
};

// 0 for the tokens of a chunk, and far below any score beyond them.
void fill_mask(float* mask, int size) {
  for (int j = 0; j < kLongestChunk; ++j) mask[j] = j < size ? 0.0f : kFarBelow;
}

// One row by running maximum and sum, for scores of any size.
void attend_by_maximum(const Head& head, const float* query, float* attended, const AttentionScratch& s) {
  float largest = 0.0f, sum = 0.0f;
  for (int64_t chunk = 0; chunk < chunks(head.count); ++chunk) {
    const int64_t begin = chunk * kChunk;
    const int size = static_cast<int>(chunk_end(head.count, chunk) - begin);
    const bool first = chunk == 0;
    fill_mask(s.mask, size);
    apply({head.keys_of(begin), s.mask, head.features, size, Activation::none}, 1, query, 0, s.scores, 0);
    const float factor = take_scores(s.scores, size, first, largest, sum);
    if (factor != 1.0f) multiply(attended, head.stride, factor);
    apply({head.values_of(begin, size), s.zeros, size, head.stride,
           first ? Activation::none : Activation::residual},
          1, s.scores, 0, attended, 0);
  }
  multiply(attended, head.stride, 1.0f / sum);
}

// s.query -> s.attended, head by head, over the chunks of a context of `count` tokens.
void attend(const BlockLayout& block, const KeyValues& context, int64_t count, int rows, const AttentionScratch& s) {
  const int64_t row_stride = padded(block.attended());
  for (int64_t number = 0; number < block.heads; ++number) {
    const Head head(block, context, count, number);
    const float* query = s.query + number * head.stride;
    float* attended = s.attended + number * head.stride;
    for (int64_t j = 0; j < rows * kLanes; j += kLanes) store(s.sums + j, Vec{});
    for (int64_t chunk = 0; chunk < chunks(count); ++chunk) {
      const int64_t begin = chunk * kChunk;
      const int size = static_cast<int>(chunk_end(count, chunk) - begin);
      fill_mask(s.mask, size);
      const ScoreLayer scores{head.keys_of(begin), s.mask, head.features, size};
      const DenseLayer values{head.values_of(begin, size), s.zeros, size, head.stride,
                              chunk == 0 ? Activation::none : Activation::residual};
      for (int row = 0; row < rows; row += kRows) {
        const int some = rows - row < kRows ? rows - row : kRows;
        float* weights = s.scores + row * kLongestChunk;
        weigh(scores, some, query + row * row_stride, row_stride, weights, kLongestChunk, s.sums + row * kLanes);
        apply(values, some, weights, kLongestChunk, attended + row * row_stride, row_stride);
      }
    }
    for (int row = 0; row < rows; ++row) {
      const float sum = lane_sum(load(s.sums + row * kLanes));
      float* to = attended + row * row_stride;
      if (sum_is_safe(sum)) {
        multiply(to, head.stride, 1.0f / sum);
      } else {
        attend_by_maximum(head, query + row * row_stride, to, s);
      }
    }
  }
}

}  // namespace
}  // namespace diffhpo
