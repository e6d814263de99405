// SPDX-License-Identifier: Apache-2.0
// The packed weights of the universal Transformer and Predictor: fields in their order, shapes, offsets in floats.
// Matrices and biases are stored in panels (panels.h), tables by rows that are padded to panels.
//
// Folded in float64 before packing (packed_universal.py): log2(e) into what a softmax is taken of; scale and shift of
// a layer norm into the matrix behind it, except where the normalised rows are themselves a result.
#pragma once

#include <cstdint>

#include "attention/attention_layout.h"
#include "panels.h"

namespace diffhpo {

constexpr int64_t kBasis = 7;          // numbers made of a coordinate: 2x - 1, and cosine and sine of three octaves
constexpr int64_t kValueFeatures = 5;  // numbers made of a value
constexpr int64_t kKinds = 4, kRoles = 64, kNames = 32;
constexpr int64_t kTags = kKinds + kRoles + kNames;  // rows of a table of all
constexpr int64_t kMostDims = kNames;
constexpr int64_t kProcesses = 4;  // K
constexpr int64_t kLearned = 8;    // F, learned coordinates of the kernels

struct Dense {
  int64_t weight, bias;  // offsets of (outputs, inputs) and (outputs,)
  int64_t inputs, outputs;
};

struct Perceptron {
  Dense expand, contract;  // with silu between
};

// A perceptron of rows and of what they share, [row | shared] -> 2W -> W: the shared part is multiplied once.
struct SharedPerceptron {
  Dense shared;           // its bias is that of the first layer
  int64_t own, own_inputs;  // matrix (2W, own_inputs)
  Dense contract;
};

// Takes fields one after another.
class FieldCutter {
 public:
  DIFFHPO_INLINE int64_t take(int64_t floats) {
    const int64_t at = at_;
    at_ += floats;
    return at;
  }
  DIFFHPO_INLINE int64_t matrix(int64_t outputs, int64_t inputs) { return take(padded(outputs) * inputs); }
  DIFFHPO_INLINE Dense dense(int64_t outputs, int64_t inputs) {
    const int64_t weight = matrix(outputs, inputs), bias = take(padded(outputs));
    return {weight, bias, inputs, outputs};
  }
  DIFFHPO_INLINE Perceptron perceptron(int64_t width, int64_t inputs) {
    const Dense expand = dense(2 * width, inputs);
    return {expand, dense(width, 2 * width)};
  }
  DIFFHPO_INLINE SharedPerceptron shared_perceptron(int64_t width, int64_t own, int64_t shared) {
    const Dense first = dense(2 * width, shared);
    const int64_t matrix_of_rows = matrix(2 * width, own);
    return {first, matrix_of_rows, own, dense(width, 2 * width)};
  }
  DIFFHPO_INLINE int64_t size() const { return at_; }

 private:
  int64_t at_ = 0;
};

// Rows of A(code), the matrix (kBasis, W) by which the basis of a dimension enters an embedding, in the order of its
// panels: row (p kBasis + k) 32 + lane is A's element k, 32 p + lane.
DIFFHPO_INLINE constexpr int64_t matrix_outputs(int64_t width) { return padded(width) * kBasis; }

struct UniversalEncoderLayout {
  int64_t width;   // W, a multiple of 2 H
  int64_t layers;  // of self-attention
  int64_t heads;   // H

  DIFFHPO_INLINE int64_t cell() const { return width / 2; }
  DIFFHPO_INLINE int64_t views() const { return (2 * heads + 1) * kBasis; }
  // The tokens' own layer is written by the codes; of the encoder's fields its bias is that of the values.
  DIFFHPO_INLINE EncoderLayout encoder() const { return {0, width, layers, heads}; }
};

struct UniversalEncoderFields {
  int64_t tags;       // (kTags, W) table: kinds, roles, names
  int64_t cell_tags;  // (kTags, W/2) table: what they become in a cell
  Dense cell;         // kBasis + kValueFeatures -> W/2
  Dense cell_output;  // W/2 -> W/2 + H: the cell, and its scores to base 2
  Perceptron first_code;
  SharedPerceptron first_mix;
  Dense matrix;          // W -> matrix_outputs(W)
  int64_t values;        // matrix (W, kValueFeatures)
  int64_t encoder;       // EncoderLayout
  int64_t token_scale, token_shift;  // (W,) each
  Dense trial_score;     // W -> 2 H, to base 2
  SharedPerceptron second_code;  // own: views and code; shared: the anchor's token
  SharedPerceptron second_mix;
  int64_t code_scale, code_shift;
  Perceptron pool;  // 3W -> W
  int64_t size;
};

DIFFHPO_INLINE UniversalEncoderFields fields_of(const UniversalEncoderLayout& layout) {
  const int64_t width = layout.width, cell = layout.cell();
  FieldCutter cut;
  UniversalEncoderFields f;
  f.tags = cut.take(kTags * padded(width));
  f.cell_tags = cut.take(kTags * padded(cell));
  f.cell = cut.dense(cell, kBasis + kValueFeatures);
  f.cell_output = cut.dense(cell + layout.heads, cell);
  f.first_code = cut.perceptron(width, 2 * cell + width);
  f.first_mix = cut.shared_perceptron(width, width, width);
  f.matrix = cut.dense(matrix_outputs(width), width);
  f.values = cut.matrix(width, kValueFeatures);
  f.encoder = cut.take(layout.encoder().size());
  f.token_scale = cut.take(padded(width));
  f.token_shift = cut.take(padded(width));
  f.trial_score = cut.dense(2 * layout.heads, width);
  f.second_code = cut.shared_perceptron(width, layout.views() + width, width);
  f.second_mix = cut.shared_perceptron(width, width, width);
  f.code_scale = cut.take(padded(width));
  f.code_shift = cut.take(padded(width));
  f.pool = cut.perceptron(width, 3 * width);
  f.size = cut.size();
  return f;
}

struct UniversalPredictorLayout {
  int64_t width;   // W
  int64_t layers;  // in which candidates attend
  int64_t heads;   // H

  // A candidate's own layer is written by the codes; the bias of that field is the posterior's.
  DIFFHPO_INLINE PredictorLayout attending() const { return {0, width, layers, heads, width, 3 * kProcesses}; }
};

struct UniversalPredictorFields {
  Dense per_dimension;  // W -> K + 2
  Dense per_context;    // W -> 4 K + F
  Dense matrix;         // W -> matrix_outputs(W)
  Dense hidden_shift;   // W -> W
  Dense hidden;         // W -> W, layer norm taken in
  Dense learned;        // W -> F + K: the learned coordinates, and the learned means
  int64_t posterior;    // matrix (W, 3 K)
  int64_t attending;    // PredictorLayout
  int64_t size;
};

DIFFHPO_INLINE UniversalPredictorFields fields_of(const UniversalPredictorLayout& layout) {
  const int64_t width = layout.width;
  FieldCutter cut;
  UniversalPredictorFields f;
  f.per_dimension = cut.dense(kProcesses + 2, width);
  f.per_context = cut.dense(4 * kProcesses + kLearned, width);
  f.matrix = cut.dense(matrix_outputs(width), width);
  f.hidden_shift = cut.dense(width, width);
  f.hidden = cut.dense(width, width);
  f.learned = cut.dense(kLearned + kProcesses, width);
  f.posterior = cut.matrix(width, 3 * kProcesses);
  f.attending = cut.take(layout.attending().size());
  f.size = cut.size();
  return f;
}

}  // namespace diffhpo
