// SPDX-License-Identifier: Apache-2.0
// Attention on the CPU: a scheduler over chunks of tokens and tiles of rows, and their kernels, built once per ISA.
#pragma once

#include <cstdint>

#include "attention/attention.h"
#include "cpu/worker_threads.h"

namespace diffhpo {

enum class Isa;

constexpr int kChunk = 128;              // tokens whose scores are in cache at once
constexpr int kLongestChunk = 128 + 32;  // the last chunk takes in a short rest
constexpr int kAttentionRows = 48;       // of a tile that stays in cache through all layers

DIFFHPO_INLINE int64_t chunks(int64_t tokens) {
  const int64_t whole = (tokens + kChunk - 1 - (kLongestChunk - kChunk)) / kChunk;
  return whole < 1 ? 1 : whole;
}
DIFFHPO_INLINE int64_t chunk_end(int64_t tokens, int64_t chunk) {
  return chunk + 1 == chunks(tokens) ? tokens : (chunk + 1) * kChunk;
}
DIFFHPO_INLINE int64_t chunk_of(int64_t tokens, int64_t token) {
  const int64_t last = chunks(tokens) - 1;
  return token / kChunk < last ? token / kChunk : last;
}

// Keys and values of one context of M tokens at one layer. Within a head the keys are [panel of 32 tokens][feature]
// [32]; values are, chunk by chunk, [panel of 32 features][token of the chunk][32]. Folded ones are those of one
// head with H M tokens and W features, in one chunk, and every token has an offset to its score.
struct KeyValues {
  float* keys;     // [key heads][panels(M)][features][32]
  float* values;   // [chunk][panels(key heads * stride)][tokens of the chunk][32]
  float* offsets;  // [padded(H M)], of folded contexts only
};

DIFFHPO_INLINE int64_t head_keys_size(const BlockLayout& block, int64_t tokens) {
  return padded(tokens) * block.features();
}
DIFFHPO_INLINE int64_t keys_size(const BlockLayout& block, int64_t tokens) {
  if (block.folds(tokens)) return padded(block.heads * tokens) * block.width;
  return block.key_heads() * head_keys_size(block, tokens);
}
DIFFHPO_INLINE int64_t values_size(const BlockLayout& block, int64_t tokens) {
  if (block.folds(tokens)) return block.heads * tokens * padded(block.width);
  return tokens * padded(block.key_heads() * block.stride());
}
DIFFHPO_INLINE int64_t offsets_size(const BlockLayout& block, int64_t tokens) {
  return block.folds(tokens) ? padded(block.heads * tokens) : 0;
}
// Layers that have keys and values of their own.
DIFFHPO_INLINE int64_t key_value_layers(const BlockLayout& block, int64_t tokens, int64_t layers) {
  return block.shared && !block.folds(tokens) ? 1 : layers;
}

// The working memory of one thread; rows are padded to whole vectors of any ISA.
struct AttentionScratch {
  float* input;      // [rows, padded(inputs)]
  float* hidden;     // [rows, padded(W)]
  float* normed;     // [rows, padded(W)]
  float* query;      // [rows, padded(H stride)]
  float* attended;   // [rows, padded(H stride)]
  float* scores;     // [rows, kLongestChunk]
  float* expanded;   // [rows, padded(2W)]
  float* result;     // [rows, padded(outputs)]
  float* key_value;  // [rows, padded(2 H stride)], or [rows, padded(2 H W + H)]
  float* sums;       // [rows, 16] sums of the softmax, lane by lane
  float* mask;       // [kLongestChunk] 0, and far below any score beyond the last token
  float* zeros;      // [padded(largest number of outputs)]
  int64_t size;      // in floats
};
// `base`, aligned to 64 bytes and zero, may be null: then only the size is of use.
AttentionScratch divide_attention_scratch(float* base, const BlockLayout& block, int64_t inputs, int64_t outputs,
                                          int rows);

// Rows of one context.
struct RowTile {
  int64_t job;
  int64_t first;  // within the context
  int64_t row;    // of all contexts' rows
  int rows;
};

#define DIFFHPO_DECLARE_KERNELS(isa)                                                                              \
  namespace isa {                                                                                                 \
  /* Embeds inputs into the tile's rows of p.tokens; a context's row 0 is its anchor. */                          \
  void embed_tile(const EncodeProblem& p, const RowTile& tile, const float* inputs, const AttentionScratch& s);   \
  /* Keys and values of the tokens [tile.first, + rows) of a context of `count`; `tokens` begins at the first. */ \
  void key_value_tile(const BlockLayout& block, const float* weights, bool normalise, const float* tokens,        \
                      int64_t count, const RowTile& tile, const KeyValues& to, const AttentionScratch& s);        \
  void encode_tile(const EncodeProblem& p, int64_t layer, const RowTile& tile, const KeyValues& context,          \
                   int64_t count, const AttentionScratch& s);                                                     \
  void predict_tile(const PredictProblem& p, const RowTile& tile, const KeyValues* contexts,                      \
                    const AttentionScratch& s);                                                                   \
  }
DIFFHPO_DECLARE_KERNELS(portable)
DIFFHPO_DECLARE_KERNELS(avx2)
DIFFHPO_DECLARE_KERNELS(avx512)
#undef DIFFHPO_DECLARE_KERNELS

// On `threads` threads, the caller's among them; when `interrupted` says true the call ends and its outputs are
// unfinished: true is returned.
bool encode_cpu(const EncodeProblem& problem, Isa isa, int threads, StopSignal interrupted);
bool predict_cpu(const PredictProblem& problem, Isa isa, int threads, StopSignal interrupted);

}  // namespace diffhpo
