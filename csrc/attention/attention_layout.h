// SPDX-License-Identifier: Apache-2.0
// The packed weights of the Transformer's encoder and of the Predictor: field, shape, offset. Matrices and biases
// are stored in panels (panels.h).
//
// What could be folded into a matrix was folded in float64 before packing (packed_attention.py): scale and shift of
// a layer norm into the matrix behind it, log2(e) / sqrt(head width) into the query, the value's bias into the
// output's. A key bias is left out, because it shifts all scores of a row alike.
#pragma once

#include <cstdint>

#include "panels.h"

namespace diffhpo {

constexpr int kLongestFolded = 144;  // heads x tokens of a folded context

// Features from one head to the next: whole vectors of any ISA, which do not straddle panels.
DIFFHPO_INLINE constexpr int64_t head_stride(int64_t features) {
  return features <= 16 ? 16 : features <= 32 ? 32 : padded(features);
}

// Rows of width W that attend to tokens of width C, then an MLP.
//
// Projected: every head has keys and values of its own, W / H features of each. Shared: the tokens themselves are
// keys and values of all heads, because
//   (Wq h)(Wk t) = (Wk^T Wq h) t  and  Wo sum_j p_j Wv t_j = (Wo Wv) sum_j p_j t_j;
// no more work per row where H C <= W, none per token, and one copy of the tokens serves all layers.
//
// Folded, for short contexts: query and output matrices are multiplied into keys and values, once per context,
//   (Wq h)(Wk t_j) = h (Wq^T Wk t_j)  and  Wo sum_j p_j Wv t_j = sum_j p_j (Wo Wv t_j),
// which spares every row two matrices for longer keys and values.
struct BlockLayout {
  int64_t width;   // W
  int64_t source;  // C
  int64_t heads;   // H
  bool shared;
  bool foldable;

  DIFFHPO_INLINE int64_t features() const { return shared ? source : width / heads; }  // of a key and of a value
  DIFFHPO_INLINE int64_t stride() const { return head_stride(features()); }
  DIFFHPO_INLINE int64_t attended() const { return heads * stride(); }
  DIFFHPO_INLINE int64_t key_heads() const { return shared ? 1 : heads; }
  DIFFHPO_INLINE int64_t folded_outputs() const { return foldable ? 2 * heads * width + heads : 0; }
  // Whether fewer multiplications per row follow for `tokens` tokens; their scores have to fit one buffer.
  DIFFHPO_INLINE bool folds(int64_t tokens) const {
    return foldable && heads * tokens <= kLongestFolded && tokens * (width - stride()) < width * stride();
  }

  // field                      shape                                offset in floats
  DIFFHPO_INLINE int64_t query_weight() const { return 0; }                                        // (H stride, W)
  DIFFHPO_INLINE int64_t query_bias() const { return padded(attended()) * width; }                 // (H stride,)
  DIFFHPO_INLINE int64_t key_value_weight() const { return query_bias() + padded(attended()); }    // (2 H stride, C)
  DIFFHPO_INLINE int64_t key_value_bias() const {                                                  // (2 H stride,)
    return key_value_weight() + (shared ? 0 : padded(2 * attended()) * source);
  }
  DIFFHPO_INLINE int64_t output_weight() const {                                                   // (W, H stride)
    return key_value_bias() + (shared ? 0 : padded(2 * attended()));
  }
  DIFFHPO_INLINE int64_t output_bias() const { return output_weight() + padded(width) * attended(); }  // (W,)
  DIFFHPO_INLINE int64_t expand_weight() const { return output_bias() + padded(width); }           // (2W, W)
  DIFFHPO_INLINE int64_t expand_bias() const { return expand_weight() + padded(2 * width) * width; }  // (2W,)
  DIFFHPO_INLINE int64_t contract_weight() const { return expand_bias() + padded(2 * width); }     // (W, 2W)
  DIFFHPO_INLINE int64_t contract_bias() const { return contract_weight() + padded(width) * 2 * width; }  // (W,)
  DIFFHPO_INLINE int64_t folded_weight() const { return contract_bias() + padded(width); }  // (2 H W + H, C)
  DIFFHPO_INLINE int64_t folded_bias() const {                                              // (2 H W + H,)
    return folded_weight() + padded(folded_outputs()) * source;
  }
  DIFFHPO_INLINE int64_t size() const { return folded_bias() + padded(folded_outputs()); }
};

struct EncoderLayout {
  int64_t inputs;  // d + 2
  int64_t width;   // C
  int64_t layers;  // L
  int64_t heads;   // H

  DIFFHPO_INLINE BlockLayout block() const { return {width, width, heads, false, false}; }
  DIFFHPO_INLINE int64_t token_weight() const { return 0; }                                  // (C, d + 2)
  DIFFHPO_INLINE int64_t token_bias() const { return padded(width) * inputs; }               // (C,)
  DIFFHPO_INLINE int64_t anchor() const { return token_bias() + padded(width); }             // (C,)
  DIFFHPO_INLINE int64_t layer(int64_t l) const { return anchor() + padded(width) + l * block().size(); }
  DIFFHPO_INLINE int64_t size() const { return layer(layers); }
};

struct PredictorLayout {
  int64_t dim;     // d
  int64_t width;   // W
  int64_t layers;  // L
  int64_t heads;   // H
  int64_t source;  // C
  int64_t bars;    // K

  DIFFHPO_INLINE BlockLayout block() const { return {width, source, heads, heads * source <= width, true}; }
  DIFFHPO_INLINE int64_t input_weight() const { return 0; }                                  // (W, d)
  DIFFHPO_INLINE int64_t input_bias() const { return padded(width) * dim; }                  // (W,)
  DIFFHPO_INLINE int64_t layer(int64_t l) const { return input_bias() + padded(width) + l * block().size(); }
  DIFFHPO_INLINE int64_t output_weight() const { return layer(layers); }                     // (K, W)
  DIFFHPO_INLINE int64_t output_bias() const { return output_weight() + padded(bars) * width; }  // (K,)
  DIFFHPO_INLINE int64_t size() const { return output_bias() + padded(bars); }
};

}  // namespace diffhpo
