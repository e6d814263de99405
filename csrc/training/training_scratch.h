// SPDX-License-Identifier: Apache-2.0
// The working memory of one thread of the training kernel, and the batch that is drawn into it.
#pragma once

#include <cstdint>

#include "training/training.h"

namespace diffhpo {

// Hands out parts of one block of memory; with a null base only the size is of use.
class Carver {
 public:
  DIFFHPO_INLINE explicit Carver(float* base) : base_(base) {}

  DIFFHPO_INLINE float* floats(int64_t count) {
    float* part = base_ == nullptr ? nullptr : base_ + size;
    size += whole(count);
    return part;
  }
  DIFFHPO_INLINE int32_t* integers(int64_t count) { return reinterpret_cast<int32_t*>(floats(count)); }
  DIFFHPO_INLINE int64_t* longs(int64_t count) { return reinterpret_cast<int64_t*>(floats(2 * count)); }

  int64_t size = 0;  // floats, a multiple of 16

 private:
  float* base_;
};

// R draws. Row r's tokens are the anchor and its members: [token_start[r], token_start[r + 1]).
struct Draws {
  int32_t* query;        // [R]
  int32_t* improve;      // [R] 0, 1 or 2: withheld
  int32_t* timestep;     // [R]
  int32_t* members;      // [R, n] trials, ascending, the first `token_start[r + 1] - token_start[r] - 1` of a row
  int64_t* token_start;  // [R + 1]
  float* x;              // [R, d] in [0, 1]
  float* eps;            // [R, d]
  float* jitter;         // [R, d] one where the query moves
  float* normals;        // [R, d]
  int64_t* counters;     // [R]
  uint32_t* words;       // [n rounded up]
  int32_t* below;        // [n + 1] members by rank, for mid-ranks
};

// What a layer of the Transformer keeps for its backward pass; T tokens of all rows.
struct EncoderActivations {
  float* attention_normed;  // [T, C] normalised tokens, before scale and shift
  float* attention_scale;   // [T] one over their standard deviation
  float* projected;         // [T, 3, heads, head]
  float* attention;         // per row and head [keys, queries]: softmax, transposed
  float* attended;          // [T, heads, head]
  float* mlp_normed;        // [T, C]
  float* mlp_scale;         // [T]
  float* slope;             // [T, 2C] derivative of silu
  float* hidden;            // [T, 2C] silu; of the last layer the mean over the tokens of each row [R, 2C]
};

struct TrainingScratch {
  // Parameters, their gradients and moments, packed.
  float *weights, *gradients, *exp_avg, *exp_avg_sq;
  float* transposed;       // weights transposed in panels, for the forward pass
  float* folded;           // packed: weights behind a norm times its scale
  float* folded_bias;      // packed: their biases, with the norm's shift
  float* scaled_x;         // [n, d + 2] trials in [-1, 1]
  float* base;             // [n, C] what a trial's x adds to its tokens
  float* base_gradient;    // [n, C]
  float* column_mask;      // [C] one, then zero in the padding
  Draws draws;
  float* values;           // [T, 2] mid-rank and z-score of every token
  // Transformer.
  float* tokens;           // [T, C]
  float* token_gradient;   // [T, C]
  float* normed_gradient;  // [T, C]
  float* projected_gradient;  // [T, 3, heads, head]
  float* attended_gradient;   // [T, heads, head]
  float* head_columns;     // [2, heads, head, keys] queries and gradients of one row, transposed
  float* head_gradient;    // [keys, queries] of one head
  float* pooled;           // [R, C]
  float* pooled_gradient;  // [R, C]
  float* pooled_hidden_gradient;  // [R, 2C]
  float* layers;           // EncoderActivations, one after another
  int64_t layer_floats;
  int64_t* attention_start;  // [R + 1] of a row's matrices in `attention`
  // Network.
  float* x_t;              // [R, d]
  float* features;         // [R, F]
  float* time_slope;       // [R, W]
  float* time_hidden;      // [R, W]
  float* shifts;           // [R, B, 2W] conditioning, then slopes, then gradients
  float* shift_start;      // [B, 2W]
  float* hidden;           // [B, R, 2W] silu
  float* stream;           // [B + 1, R, W]
  float* stream_gradient;  // [R, W]
  float* hidden_gradient;  // [R, 2W]
  float* predicted;        // [R, d], then its gradient
  int64_t zero_floats;     // at the front, which have to be zero before the first use
  int64_t size;
};

DIFFHPO_INLINE EncoderActivations layer_activations(float* base, const TrainingShape& shape, int64_t batch,
                                                    int64_t trials, bool last, int64_t* floats) {
  Carver at(base);
  const int64_t tokens = batch * (trials + 1), width = whole(shape.context_width);
  const int64_t hidden = whole(2 * shape.context_width);
  EncoderActivations a{};
  a.attention_normed = at.floats(tokens * width);
  a.attention_scale = at.floats(tokens);
  a.projected = at.floats(tokens * 3 * shape.attended());
  a.attention = at.floats(batch * shape.heads * (trials + 1) * whole(trials + 1));
  a.attended = at.floats(tokens * shape.attended());
  a.mlp_normed = at.floats(tokens * width);
  a.mlp_scale = at.floats(tokens);
  a.slope = at.floats(tokens * hidden);
  a.hidden = at.floats((last ? batch : tokens) * hidden);
  *floats = at.size;
  return a;
}

// `trials` is the largest n of any task.
DIFFHPO_INLINE TrainingScratch divide_training_scratch(float* base, const TrainingLayout& layout, int64_t batch,
                                                       int64_t trials) {
  const TrainingShape& s = layout.shape;
  const int64_t tokens = batch * (trials + 1), context = whole(s.context_width);
  const int64_t dim = whole(s.dim), width = whole(s.width), hidden = s.hidden();
  Carver at(base);
  TrainingScratch t{};
  // Padding in these is read, and never written.
  t.weights = at.floats(layout.size.packed);
  t.gradients = at.floats(layout.size.packed);
  t.exp_avg = at.floats(layout.size.packed);
  t.exp_avg_sq = at.floats(layout.size.packed);
  t.transposed = at.floats(layout.size.transposed);
  t.scaled_x = at.floats(trials * whole(s.dim + 2));
  t.column_mask = at.floats(context);
  t.x_t = at.floats(batch * dim);
  t.features = at.floats(batch * whole(s.time_features));
  t.folded_bias = at.floats(layout.size.packed);
  t.zero_floats = at.size;
  t.folded = at.floats(layout.size.packed);
  t.base = at.floats(trials * context);
  t.base_gradient = at.floats(trials * context);
  t.draws.query = at.integers(batch);
  t.draws.improve = at.integers(batch);
  t.draws.timestep = at.integers(batch);
  t.draws.members = at.integers(batch * trials);
  t.draws.token_start = at.longs(batch + 1);
  t.draws.x = at.floats(batch * s.dim);
  t.draws.eps = at.floats(batch * s.dim);
  t.draws.jitter = at.floats(batch * s.dim);
  t.draws.normals = at.floats(batch * s.dim);
  t.draws.counters = at.longs(batch);
  t.draws.words = reinterpret_cast<uint32_t*>(at.integers(whole(trials + 4 * 16)));
  t.draws.below = at.integers(trials + 1);
  t.values = at.floats(2 * tokens);
  t.tokens = at.floats(tokens * context);
  t.token_gradient = at.floats(tokens * context);
  t.normed_gradient = at.floats(tokens * context);
  t.projected_gradient = at.floats(tokens * 3 * s.attended());
  t.attended_gradient = at.floats(tokens * s.attended());
  t.head_columns = at.floats(2 * s.attended() * whole(trials + 1));
  t.head_gradient = at.floats((trials + 1) * whole(trials + 1));
  t.pooled = at.floats(batch * context);
  t.pooled_gradient = at.floats(batch * context);
  t.pooled_hidden_gradient = at.floats(batch * whole(2 * s.context_width));
  int64_t last_floats = 0;
  layer_activations(nullptr, s, batch, trials, false, &t.layer_floats);
  layer_activations(nullptr, s, batch, trials, true, &last_floats);
  t.layers = at.floats((s.layers - 1) * t.layer_floats + last_floats);
  t.attention_start = at.longs(batch + 1);
  t.time_slope = at.floats(batch * width);
  t.time_hidden = at.floats(batch * width);
  t.shifts = at.floats(batch * s.shifts());
  t.shift_start = at.floats(s.shifts());
  t.hidden = at.floats(s.blocks * batch * hidden);
  t.stream = at.floats((s.blocks + 1) * batch * width);
  t.stream_gradient = at.floats(batch * width);
  t.hidden_gradient = at.floats(batch * hidden);
  t.predicted = at.floats(batch * dim);
  t.size = at.size;
  return t;
}

}  // namespace diffhpo
