// SPDX-License-Identifier: Apache-2.0
// Attention of a tile of rows. Compiled once per ISA into the namespace DIFFHPO_ISA.

#include "attention_cpu.h"

#include "attention_weights.h"
#include "dense_layer.h"
#include "layer_norm.h"
#include "simd.h"
#include "softmax.h"

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

namespace diffhpo {
namespace {

void copy_rows(const float* from, int64_t from_stride, int rows, int64_t columns, float* to, int64_t to_stride) {
  for (int row = 0; row < rows; ++row) {
    __builtin_memcpy(to + row * to_stride, from + row * from_stride, sizeof(float) * columns);
  }
}

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

// One layer: attention and MLP on s.hidden.
void run_block(const BlockLayout& block, const float* w, const KeyValues& context, int64_t count, int rows,
               const AttentionScratch& s) {
  const int width = static_cast<int>(block.width), attended = static_cast<int>(block.attended());
  const int64_t narrow = padded(width), wide = padded(2 * width), row_stride = padded(attended);
  normalise_rows(s.hidden, rows, width, narrow, s.normed);
  if (block.folds(count)) {
    attend_folded(block, w, context, count, rows, s);
  } else {
    apply({w + block.query_weight(), w + block.query_bias(), width, attended, Activation::none}, rows, s.normed,
          narrow, s.query, row_stride);
    attend(block, context, count, rows, s);
    apply({w + block.output_weight(), w + block.output_bias(), attended, width, Activation::residual}, rows,
          s.attended, row_stride, s.hidden, narrow);
  }
  normalise_rows(s.hidden, rows, width, narrow, s.normed);
  apply({w + block.expand_weight(), w + block.expand_bias(), width, 2 * width, Activation::silu}, rows, s.normed,
        narrow, s.expanded, wide);
  apply({w + block.contract_weight(), w + block.contract_bias(), 2 * width, width, Activation::residual}, rows,
        s.expanded, wide, s.hidden, narrow);
}

// Key rows [features] -> panels of tokens, those from `first` on.
void place_keys(const float* rows, int64_t row_stride, int64_t first, int count, int64_t features, float* keys) {
  for (int64_t token = first; token < first + count;) {
    const float* from = rows + (token - first) * row_stride;
    float* to = keys + token / kPanel * kPanel * features + token % kPanel;
    int64_t k = 0;
    if (token % 4 == 0 && token + 4 <= first + count) {
      for (; k + kLanes <= features; k += kLanes) {
        Vec v[4];
        for (int i = 0; i < 4; ++i) v[i] = load(from + i * row_stride + k);
        interleave(v);
        for (int i = 0; i < 4; ++i) {
          for (int quarter = 0; quarter < kLanes / 4; ++quarter) {
            __builtin_memcpy(to + (k + 4 * quarter + i) * kPanel, reinterpret_cast<const float*>(&v[i]) + 4 * quarter,
                             4 * sizeof(float));
          }
        }
      }
      for (; k < features; ++k) {
        for (int i = 0; i < 4; ++i) to[k * kPanel + i] = from[i * row_stride + k];
      }
      token += 4;
      continue;
    }
    for (; k < features; ++k) to[k * kPanel] = from[k];
    ++token;
  }
}

// Zeros after the last of `count` tokens, up to the end of the panel.
void fill_keys(int64_t count, int64_t features, float* keys) {
  for (int64_t token = count; token < padded(count); ++token) {
    float* to = keys + token / kPanel * kPanel * features + token % kPanel;
    for (int64_t k = 0; k < features; ++k) to[k * kPanel] = 0.0f;
  }
}

// Value rows [features] -> panels of features that hold `all` tokens, those from `first` on; the last panel is filled
// up with zeros.
void place_values(const float* rows, int64_t row_stride, int64_t first, int count, int64_t all, int64_t features,
                  float* values) {
  for (int64_t i = 0; i < count; ++i) {
    const float* from = rows + i * row_stride;
    for (int64_t panel = 0; panel < panels(features); ++panel) {
      float* to = values + (panel * all + first + i) * kPanel;
      const int64_t filled = features - panel * kPanel < kPanel ? features - panel * kPanel : kPanel;
      if (filled == kPanel) {
        __builtin_memcpy(to, from + panel * kPanel, kPanel * sizeof(float));
        continue;
      }
      for (int64_t k = 0; k < kPanel; ++k) to[k] = k < filled ? from[panel * kPanel + k] : 0.0f;
    }
  }
}

// The same, chunk by chunk, for the tile of a context of `count` tokens.
void place_chunks(const float* rows, int64_t row_stride, const RowTile& tile, int64_t count, int64_t features,
                  float* values) {
  for (int64_t token = tile.first; token < tile.first + tile.rows;) {
    const int64_t chunk = chunk_of(count, token), begin = chunk * kChunk, end = chunk_end(count, chunk);
    const int64_t until = end < tile.first + tile.rows ? end : tile.first + tile.rows;
    place_values(rows + (token - tile.first) * row_stride, row_stride, token - begin, static_cast<int>(until - token),
                 end - begin, features, values + begin * panels(features) * kPanel);
    token = until;
  }
}

// [rows, 2 H W + H] of folded keys, values and offsets -> `to`.
void place_folded(const BlockLayout& block, const float* rows, int64_t row_stride, const RowTile& tile, int64_t count,
                  const KeyValues& to) {
  const int64_t width = block.width, all = block.heads * count;
  for (int64_t head = 0; head < block.heads; ++head) {
    const int64_t first = head * count + tile.first;
    place_keys(rows + head * width, row_stride, first, tile.rows, width, to.keys);
    place_values(rows + (block.heads + head) * width, row_stride, first, tile.rows, all, width, to.values);
    for (int64_t i = 0; i < tile.rows; ++i) {
      to.offsets[first + i] = rows[i * row_stride + 2 * block.heads * width + head];
    }
  }
  if (tile.first + tile.rows < count) return;
  fill_keys(all, width, to.keys);
  for (int64_t token = all; token < padded(all); ++token) to.offsets[token] = 0.0f;
}

}  // namespace

namespace DIFFHPO_ISA {

void embed_tile(const EncodeProblem& p, const RowTile& tile, const float* inputs, const AttentionScratch& s) {
  const EncoderLayout& layout = p.layout;
  const int64_t width = layout.width, narrow = padded(width);
  float* to = p.tokens + tile.row * width;
  const bool anchor = tile.first == 0;
  if (anchor) copy_rows(p.weights + layout.anchor(), 0, 1, width, to, 0);
  const int rows = tile.rows - (anchor ? 1 : 0);
  apply({p.weights + layout.token_weight(), p.weights + layout.token_bias(), static_cast<int>(layout.inputs),
         static_cast<int>(width), Activation::none},
        rows, inputs, layout.inputs, s.hidden, narrow);
  copy_rows(s.hidden, narrow, rows, width, to + (anchor ? width : 0), width);
}

void key_value_tile(const BlockLayout& block, const float* weights, bool normalise, const float* tokens,
                    int64_t count, const RowTile& tile, const KeyValues& to, const AttentionScratch& s) {
  const int64_t stride = block.stride(), attended = block.attended();
  const int source = static_cast<int>(block.source);
  if (block.folds(count)) {
    const int64_t outputs = block.folded_outputs();
    apply({weights + block.folded_weight(), weights + block.folded_bias(), source, static_cast<int>(outputs),
           Activation::none},
          tile.rows, tokens, source, s.key_value, padded(outputs));
    place_folded(block, s.key_value, padded(outputs), tile, count, to);
    return;
  }
  const bool last = tile.first + tile.rows == count;
  if (block.shared) {
    place_keys(tokens, source, tile.first, tile.rows, source, to.keys);
    if (last) fill_keys(count, source, to.keys);
    place_chunks(tokens, source, tile, count, source, to.values);
    return;
  }
  const int64_t narrow = padded(source), both = padded(2 * attended), features = block.features();
  copy_rows(tokens, source, tile.rows, source, s.hidden, narrow);
  if (normalise) normalise_rows(s.hidden, tile.rows, source, narrow, s.normed);
  apply({weights + block.key_value_weight(), weights + block.key_value_bias(), source,
         static_cast<int>(2 * attended), Activation::none},
        tile.rows, normalise ? s.normed : s.hidden, narrow, s.key_value, both);
  for (int64_t head = 0; head < block.heads; ++head) {
    float* keys = to.keys + head * head_keys_size(block, count);
    place_keys(s.key_value + head * stride, both, tile.first, tile.rows, features, keys);
    if (last) fill_keys(count, features, keys);
  }
  place_chunks(s.key_value + attended, both, tile, count, attended, to.values);
}

void encode_tile(const EncodeProblem& p, int64_t layer, const RowTile& tile, const KeyValues& context, int64_t count,
                 const AttentionScratch& s) {
  const int64_t width = p.layout.width, narrow = padded(width);
  float* tokens = p.tokens + tile.row * width;
  copy_rows(tokens, width, tile.rows, width, s.hidden, narrow);
  run_block(p.layout.block(), p.weights + p.layout.layer(layer), context, count, tile.rows, s);
  copy_rows(s.hidden, narrow, tile.rows, width, tokens, width);
}

void predict_tile(const PredictProblem& p, const RowTile& tile, const KeyValues* contexts,
                  const AttentionScratch& s) {
  const PredictorLayout& layout = p.layout;
  const BlockLayout block = layout.block();
  const int width = static_cast<int>(layout.width), dim = static_cast<int>(layout.dim);
  const int bars = static_cast<int>(layout.bars);
  const int64_t narrow = padded(width), in_stride = padded(dim);
  const float* w = p.weights;
  for (int row = 0; row < tile.rows; ++row) {
    const float* x = p.x + (tile.row + row) * dim;
    for (int j = 0; j < dim; ++j) s.input[row * in_stride + j] = 2.0f * x[j] - 1.0f;
  }
  apply({w + layout.input_weight(), w + layout.input_bias(), dim, width, Activation::none}, tile.rows, s.input,
        in_stride, s.hidden, narrow);
  for (int64_t layer = 0; layer < layout.layers; ++layer) {
    run_block(block, w + layout.layer(layer), contexts[layer], p.token_counts[tile.job],
              tile.rows, s);
  }
  normalise_rows(s.hidden, tile.rows, width, narrow, s.normed);
  apply({w + layout.output_weight(), w + layout.output_bias(), width, bars, Activation::none}, tile.rows, s.normed,
        narrow, s.result, padded(bars));
  copy_rows(s.result, padded(bars), tile.rows, bars, p.logits + tile.row * bars, bars);
}

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
