// SPDX-License-Identifier: Apache-2.0
// Attention of a tile of rows to one short context with query and output matrices folded into keys and values.
#pragma once

#include "attention/attention_cpu.h"
#include "attention/attention_weights.h"
#include "cpu/dense_layer.h"
#include "cpu/simd.h"
#include "cpu/softmax.h"

namespace diffhpo {
namespace {

// Weights of a row's heads, `count` each -> softmax; false if the sum of one is not safe.
DIFFHPO_INLINE bool normalise_heads(float* weights, int count, int all) {
  const int whole = count / kLanes * kLanes, rest = count - whole;
  for (int first = 0; first < all; first += count) {
    float* head = weights + first;
    Vec total = rest > 0 ? first_lanes(load(head + whole), rest, Vec{}) : Vec{};
    for (int j = 0; j < whole; j += kLanes) total = total + load(head + j);
    const float sum = lane_sum(total);
    if (!sum_is_safe(sum)) return false;
    const Vec scale = broadcast(1.0f / sum);
    for (int j = 0; j < whole; j += kLanes) store(head + j, load(head + j) * scale);
    if (rest > 0) {
      const Vec last = load(head + whole);
      store(head + whole, first_lanes(last * scale, rest, last));
    }
  }
  return true;
}

// s.hidden += attention to a folded context of `count` tokens.
void attend_folded(const BlockLayout& block, const float* w, const KeyValues& context, int64_t count, int rows,
                   const AttentionScratch& s) {
  const int width = static_cast<int>(block.width), all = static_cast<int>(block.heads * count);
  const int64_t narrow = padded(width);
  for (int row = 0; row < rows; row += kRows) {
    const int some = rows - row < kRows ? rows - row : kRows;
    weigh({context.keys, context.offsets, width, all}, some, s.normed + row * narrow, narrow,
          s.scores + row * kLongestChunk, kLongestChunk, nullptr);
  }
  for (int row = 0; row < rows; ++row) {
    float* scores = s.scores + row * kLongestChunk;
    if (normalise_heads(scores, static_cast<int>(count), all)) continue;
    apply({context.keys, context.offsets, width, all, Activation::none}, 1, s.normed + row * narrow, 0, scores, 0);
    for (int first = 0; first < all; first += static_cast<int>(count)) {
      softmax(scores + first, static_cast<int>(count));
    }
  }
  apply({context.values, w + block.output_bias(), all, width, Activation::residual}, rows, s.scores, kLongestChunk,
        s.hidden, narrow);
}

}  // namespace
}  // namespace diffhpo
