// SPDX-License-Identifier: Apache-2.0
// The Transformer over the tokens of all rows, members only, forward and backward.
//
// The mean over the tokens of a row is taken before the last layer's last product, which is linear: that product and
// its gradients then run over rows, not tokens. What a trial's x adds to its tokens is the same in every row, and is
// computed once a trial.
#pragma once

#include "training/attention_training.h"
#include "training/dense_training.h"

namespace diffhpo {
namespace {

DIFFHPO_INLINE EncoderActivations activations(const TrainingProblem& p, const TrainingScratch& s, int64_t trials,
                                              int64_t layer) {
  int64_t floats = 0;
  return layer_activations(s.layers + layer * s.layer_floats, p.shape, p.batch, trials, layer + 1 == p.shape.layers,
                           &floats);
}

void prepare_transformer(const TrainingLayout& layout, const TrainingScratch& s) {
  transpose_weight(s, s.weights, layout.token.weight);
  for (int64_t i = 0; i < layout.shape.layers; ++i) {
    const EncoderLayerParameters l = layout.layer(i);
    fold_norm(s, l.attention_norm_scale, l.attention_norm_shift, l.query_key_value);
    transpose_weight(s, s.weights, l.attention_output.weight);
    fold_norm(s, l.mlp_norm_scale, l.mlp_norm_shift, l.expand);
    transpose_weight(s, s.weights, l.contract.weight);
  }
}

void embed(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s, int64_t trials) {
  const int64_t dim = p.shape.dim, width = whole(p.shape.context_width);
  const Parameter& w = layout.token.weight;
  multiply(trials, width, dim, by_rows(s.scaled_x, w.stride()),
           panels_of(s.transposed + w.at.transposed, w.stride()), {s.weights + layout.token.bias.at.packed, 0},
           {s.base, width});
  for (int64_t c = 0; c < width; c += kLanes) {
    const float* column = s.transposed + w.at.transposed + c / kPanel * w.stride() * kPanel + c % kPanel;
    const Vec of_rank = load(column + dim * kPanel), of_score = load(column + (dim + 1) * kPanel);
    const Vec anchor = load(s.weights + layout.anchor.at.packed + c);
    for (int64_t row = 0; row < p.batch; ++row) {
      const Span span = span_of(s, row);
      const int32_t* members = s.draws.members + row * trials;
      store(s.tokens + span.start * width + c, anchor);
      for (int64_t i = 1; i < span.count; ++i) {
        const int64_t t = span.start + i;
        const Vec sum = fused(broadcast(s.values[2 * t]), of_rank, load(s.base + members[i - 1] * width + c));
        store(s.tokens + t * width + c, fused(broadcast(s.values[2 * t + 1]), of_score, sum));
      }
    }
  }
}

void embed_backward(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s,
                    int64_t trials) {
  const int64_t dim = p.shape.dim, width = whole(p.shape.context_width);
  const Parameter& w = layout.token.weight;
  float of_rank[kLanes], of_score[kLanes];
  __builtin_memset(s.base_gradient, 0, sizeof(float) * trials * width);
  for (int64_t c = 0; c < width; c += kLanes) {
    Vec anchor = {}, rank = {}, score = {};
    for (int64_t row = 0; row < p.batch; ++row) {
      const Span span = span_of(s, row);
      const int32_t* members = s.draws.members + row * trials;
      anchor = anchor + load(s.token_gradient + span.start * width + c);
      for (int64_t i = 1; i < span.count; ++i) {
        const int64_t t = span.start + i;
        const Vec gradient = load(s.token_gradient + t * width + c);
        float* to = s.base_gradient + members[i - 1] * width + c;
        store(to, load(to) + gradient);
        rank = fused(broadcast(s.values[2 * t]), gradient, rank);
        score = fused(broadcast(s.values[2 * t + 1]), gradient, score);
      }
    }
    store(s.gradients + layout.anchor.at.packed + c, anchor);
    store(of_rank, rank);
    store(of_score, score);
    // After the product below the last two columns are zero; these are they.
    for (int64_t lane = 0; lane < kLanes && c + lane < p.shape.context_width; ++lane) {
      s.normed_gradient[2 * (c + lane)] = of_rank[lane];
      s.normed_gradient[2 * (c + lane) + 1] = of_score[lane];
    }
  }
  dense_gradients(s, layout.token, trials, s.base_gradient, width, s.scaled_x, w.stride());
  for (int64_t o = 0; o < p.shape.context_width; ++o) {
    float* row = s.gradients + w.at.packed + o * w.stride();
    row[dim] = s.normed_gradient[2 * o];
    row[dim + 1] = s.normed_gradient[2 * o + 1];
  }
}

// Means over each row's tokens of `from`.
void pool(const TrainingProblem& p, const TrainingScratch& s, int64_t width, const float* from, float* to) {
  for (int64_t row = 0; row < p.batch; ++row) {
    const Span span = span_of(s, row);
    const Vec share = broadcast(1.0f / static_cast<float>(span.count));
    for (int64_t c = 0; c < width; c += kLanes) {
      Vec sum = {};
      for (int64_t t = span.start; t < span.start + span.count; ++t) sum = sum + load(from + t * width + c);
      store(to + row * width + c, sum * share);
    }
  }
}

// Silu of a row's tokens and its derivative, as `activate`, but only the mean of the values is kept.
void activate_and_pool(const TrainingProblem& p, const TrainingScratch& s, int64_t width, float* values, float* to) {
  for (int64_t row = 0; row < p.batch; ++row) {
    const Span span = span_of(s, row);
    const Vec share = broadcast(1.0f / static_cast<float>(span.count));
    for (int64_t c = 0; c < width; c += kLanes) {
      Vec sum = {}, slope;
      for (int64_t t = span.start; t < span.start + span.count; ++t) {
        sum = sum + silu(load(values + t * width + c), &slope);
        store(values + t * width + c, slope);
      }
      store(to + row * width + c, sum * share);
    }
  }
}

void encode(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s, int64_t trials) {
  const int64_t tokens = s.draws.token_start[p.batch], width = whole(p.shape.context_width);
  const int64_t all = p.shape.attended(), wide = whole(2 * p.shape.context_width);
  embed(layout, p, s, trials);
  for (int64_t i = 0; i < p.shape.layers; ++i) {
    const EncoderLayerParameters l = layout.layer(i);
    const EncoderActivations a = activations(p, s, trials, i);
    const float* bias = s.weights;
    normalise(s, tokens, p.shape.context_width, a.attention_normed, a.attention_scale);
    apply_dense(s, l.query_key_value.weight, tokens, a.attention_normed, width,
                {s.folded_bias + l.query_key_value.bias.at.packed, 0}, {a.projected, 3 * all});
    for (int64_t row = 0; row < p.batch; ++row) attend(p.shape, s, a, row);
    // tokens += attention_output(attended)
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < width; c += kLanes) {
        float* at = s.tokens + t * width + c;
        store(at, load(at) + load(bias + l.attention_output.bias.at.packed + c));
      }
    }
    apply_dense(s, l.attention_output.weight, tokens, a.attended, all, {s.tokens, width}, {s.tokens, width});
    normalise(s, tokens, p.shape.context_width, a.mlp_normed, a.mlp_scale);
    apply_dense(s, l.expand.weight, tokens, a.mlp_normed, width, {s.folded_bias + l.expand.bias.at.packed, 0},
                {a.slope, wide});
    const float* contract_bias = bias + l.contract.bias.at.packed;
    if (i + 1 < p.shape.layers) {
      activate(tokens * wide, a.slope, a.hidden);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t c = 0; c < width; c += kLanes) {
          float* at = s.tokens + t * width + c;
          store(at, load(at) + load(contract_bias + c));
        }
      }
      apply_dense(s, l.contract.weight, tokens, a.hidden, wide, {s.tokens, width}, {s.tokens, width});
    } else {
      activate_and_pool(p, s, wide, a.slope, a.hidden);
      pool(p, s, width, s.tokens, s.pooled);
      for (int64_t row = 0; row < p.batch; ++row) {
        for (int64_t c = 0; c < width; c += kLanes) {
          float* at = s.pooled + row * width + c;
          store(at, load(at) + load(contract_bias + c));
        }
      }
      apply_dense(s, l.contract.weight, p.batch, a.hidden, wide, {s.pooled, width}, {s.pooled, width});
    }
  }
}

// The last layer's MLP from the gradient of the means: slope becomes the gradient before the silu, token_gradient is
// begun.
void mlp_backward_of_means(const EncoderLayerParameters& l, const TrainingProblem& p, const TrainingScratch& s,
                           const EncoderActivations& a) {
  const int64_t width = whole(p.shape.context_width), wide = whole(2 * p.shape.context_width);
  dense_gradients(s, l.contract, p.batch, s.pooled_gradient, width, a.hidden, wide);
  pull_back(s.weights, l.contract.weight, p.batch, s.pooled_gradient, width, kZero, {s.pooled_hidden_gradient, wide});
  for (int64_t row = 0; row < p.batch; ++row) {
    const Span span = span_of(s, row);
    const Vec share = broadcast(1.0f / static_cast<float>(span.count));
    for (int64_t c = 0; c < wide; c += kLanes) {
      const Vec gradient = load(s.pooled_hidden_gradient + row * wide + c) * share;
      for (int64_t t = span.start; t < span.start + span.count; ++t) {
        float* at = a.slope + t * wide + c;
        store(at, load(at) * gradient);
      }
    }
    for (int64_t c = 0; c < width; c += kLanes) {
      const Vec gradient = load(s.pooled_gradient + row * width + c) * share;
      for (int64_t t = span.start; t < span.start + span.count; ++t) store(s.token_gradient + t * width + c, gradient);
    }
  }
}

// Another layer's MLP: hidden becomes its own gradient, then slope the gradient before the silu.
void mlp_backward(const EncoderLayerParameters& l, const TrainingProblem& p, const TrainingScratch& s,
                  const EncoderActivations& a, int64_t tokens) {
  const int64_t width = whole(p.shape.context_width), wide = whole(2 * p.shape.context_width);
  dense_gradients(s, l.contract, tokens, s.token_gradient, width, a.hidden, wide);
  pull_back(s.weights, l.contract.weight, tokens, s.token_gradient, width, kZero, {a.hidden, wide});
  for (int64_t i = 0; i < tokens * wide; i += kLanes) store(a.slope + i, load(a.slope + i) * load(a.hidden + i));
}

void encode_backward(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s,
                     int64_t trials) {
  const int64_t tokens = s.draws.token_start[p.batch], width = whole(p.shape.context_width);
  const int64_t all = p.shape.attended(), wide = whole(2 * p.shape.context_width);
  for (int64_t i = p.shape.layers - 1; i >= 0; --i) {
    const EncoderLayerParameters l = layout.layer(i);
    const EncoderActivations a = activations(p, s, trials, i);
    if (i + 1 == p.shape.layers) {
      mlp_backward_of_means(l, p, s, a);
    } else {
      mlp_backward(l, p, s, a, tokens);
    }
    dense_gradients(s, l.expand, tokens, a.slope, wide, a.mlp_normed, width);
    unfold_norm(s, l.mlp_norm_scale, l.mlp_norm_shift, l.expand);
    pull_back(s.folded, l.expand.weight, tokens, a.slope, wide, kZero, {s.normed_gradient, width});
    normalise_backward(s, tokens, p.shape.context_width, a.mlp_normed, a.mlp_scale);

    dense_gradients(s, l.attention_output, tokens, s.token_gradient, width, a.attended, all);
    pull_back(s.weights, l.attention_output.weight, tokens, s.token_gradient, width, kZero,
              {s.attended_gradient, all});
    for (int64_t row = 0; row < p.batch; ++row) attend_backward(p.shape, s, a, row);
    dense_gradients(s, l.query_key_value, tokens, s.projected_gradient, 3 * all, a.attention_normed, width);
    unfold_norm(s, l.attention_norm_scale, l.attention_norm_shift, l.query_key_value);
    pull_back(s.folded, l.query_key_value.weight, tokens, s.projected_gradient, 3 * all, kZero,
              {s.normed_gradient, width});
    normalise_backward(s, tokens, p.shape.context_width, a.attention_normed, a.attention_scale);
  }
  embed_backward(layout, p, s, trials);
}

}  // namespace
}  // namespace diffhpo
