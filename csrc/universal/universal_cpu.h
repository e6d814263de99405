// SPDX-License-Identifier: Apache-2.0
// The universal model on the CPU: one context at a time, on rows that exist; kernels built once per ISA.
#pragma once

#include <cstdint>

#include "cpu/worker_threads.h"
#include "universal/universal.h"

namespace diffhpo {

enum class Isa;

constexpr int64_t kPointRows = 96;  // points of a tile whose rows stay in cache

DIFFHPO_INLINE constexpr int64_t whole_vectors(int64_t floats) { return (floats + 15) / 16 * 16; }

// What exists of a context: m trials, d dimensions, nothing masked.
struct PresentContext {
  int64_t trials, dims;
  const float* x;       // [m, d]
  const float* values;  // [m, kValueFeatures]
  const int32_t* tags;  // [d, 3] rows of the table of tags
};

// The working memory of a context, zero before use: padding of rows is computed with, though never a result.
struct EmbedScratch {
  float* x;          // [m, d] and a vector more
  float* values;     // [m, kValueFeatures]
  float* z;          // [m]
  float* grid;       // [m, grid_stride]: the basis of all coordinates, then the features of the value
  float* cell_rows;  // [m, 16]
  float* hidden;     // [m, padded(W/2)]
  float* cells;      // [m, padded(W/2 + H)]
  float* shares;     // [2 H + 1, whole m] of the trials in sums over them
  float* attended;   // [H + 1, padded(W/2)]
  float* code_rows;  // [d, code_stride] inputs of a perceptron
  float* codes;      // [d, padded(W)]
  float* wide;       // [max(d, 1), padded(2W)]
  float* mean;       // [padded(W)]
  float* initial;    // [padded(2W)]
  float* matrix_rows;  // [d, matrix_outputs(W)]
  float* matrix;       // [panels(W)][kBasis d + kValueFeatures][32]
  float* rows;         // [m + 1, padded(W)]
  float* tokens;       // [m + 1, W]
  float* views;        // [2 H + 1, grid_stride]
  float* joined;       // [3W] what is pooled
  float* pooled;       // [padded(W)]
  int64_t grid_stride, code_stride, share_stride;
  int64_t size;  // in floats
};
// `base` may be null: then only the size is of use.
EmbedScratch divide_embed_scratch(float* base, const UniversalEncoderLayout& layout, int64_t trials, int64_t dims);

// A tile of points of one context.
struct PointsScratch {
  float* codes;        // [d, padded(W)]
  float* matrix_rows;  // [d, matrix_outputs(W)]
  float* matrix;       // [panels(W)][kBasis d][32]
  float* shift;        // [padded(W)]
  float* column;       // [rows] and a vector more, as the next
  float* warped;
  float* grid;         // [rows, whole(kBasis d)]
  float* rows;         // [rows, padded(W)], as the next two
  float* normed;
  float* hidden;
  float* learned;      // [rows, 32]
  float* zeros;        // [padded(W)]
  int64_t size;
};
PointsScratch divide_points_scratch(float* base, const UniversalPredictorLayout& layout, int64_t dims);

#define DIFFHPO_DECLARE_UNIVERSAL(isa)                                                                                \
  namespace isa {                                                                                                     \
  /* First codes of the dimensions, and the tokens as they enter the encoder: s.codes, s.tokens. */                   \
  void embed_trials(const UniversalEncoderLayout& layout, const float* w, const PresentContext& context,              \
                    const EmbedScratch& s);                                                                           \
  /* Encoded s.tokens -> tokens, codes and s.pooled as they leave the Transformer. */                                 \
  void finish_codes(const UniversalEncoderLayout& layout, const float* w, const PresentContext& context,              \
                    const EmbedScratch& s);                                                                           \
  void kernel_space(const KernelSpaceProblem& p, int64_t context, float* scratch);                                    \
  /* Of the context whose codes and matrix `prepare_points` has put into the scratch: points [first, first + rows). */ \
  void prepare_points(const PointsProblem& p, int64_t context, const PointsScratch& s);                               \
  void place_points(const PointsProblem& p, int64_t context, int64_t first, int64_t rows, const PointsScratch& s);    \
  /* `embedded` [N, padded(W)] out: what attends. */                                                                  \
  void see_posterior(const CorrectProblem& p, int64_t context, float* seen, float* embedded);                         \
  void correct_mixture(const CorrectProblem& p, int64_t context, const float* corrections);                           \
  }
DIFFHPO_DECLARE_UNIVERSAL(portable)
DIFFHPO_DECLARE_UNIVERSAL(avx2)
DIFFHPO_DECLARE_UNIVERSAL(avx512)
#undef DIFFHPO_DECLARE_UNIVERSAL

constexpr int64_t kSeenStride = 16;  // floats of a row of 3 K
DIFFHPO_INLINE constexpr int64_t kernel_space_scratch(int64_t dims) { return dims * kPanel + kPanel; }

// Contexts are shared among `threads` threads; when `interrupted` says true the call ends and its outputs are
// unfinished.
void embed_cpu(const EmbedProblem& problem, Isa isa, int threads, StopSignal interrupted);
void kernel_space_cpu(const KernelSpaceProblem& problem, Isa isa);
void points_cpu(const PointsProblem& problem, Isa isa, int threads, StopSignal interrupted);
void correct_cpu(const CorrectProblem& problem, Isa isa, int threads, StopSignal interrupted);

}  // namespace diffhpo
