// SPDX-License-Identifier: Apache-2.0
// Attention of a tile of rows. Compiled once per ISA into the namespace DIFFHPO_ISA.

#include "attention/attention_cpu.h"

#include "attention/attend.h"
#include "attention/attend_folded.h"
#include "cpu/dense_layer.h"
#include "attention/key_value_panels.h"
#include "cpu/layer_norm.h"

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
  if (p.embedded != nullptr) {
    copy_rows(p.embedded + tile.row * narrow, narrow, tile.rows, width, s.hidden, narrow);
  } else {
    for (int row = 0; row < tile.rows; ++row) {
      const float* x = p.x + (tile.row + row) * dim;
      for (int j = 0; j < dim; ++j) s.input[row * in_stride + j] = 2.0f * x[j] - 1.0f;
    }
    apply({w + layout.input_weight(), w + layout.input_bias(), dim, width, Activation::none}, tile.rows, s.input,
          in_stride, s.hidden, narrow);
  }
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
