// SPDX-License-Identifier: Apache-2.0
// The Network on one batch, forward, loss and backward.
#pragma once

#include "training/dense_training.h"

namespace diffhpo {
namespace {

void prepare_network(const TrainingLayout& layout, const TrainingScratch& s) {
  const DenseParameters* dense[] = {&layout.input, &layout.output, &layout.time_input, &layout.time_output};
  for (const DenseParameters* d : dense) transpose_weight(s, s.weights, d->weight);
  transpose_weight(s, s.weights, layout.context);
  for (int64_t b = 0; b < layout.shape.blocks; ++b) {
    transpose_weight(s, s.weights, layout.expand(b).weight);
    transpose_weight(s, s.weights, layout.contract(b).weight);
  }
}

DIFFHPO_INLINE Initial bias_of(const TrainingScratch& s, const DenseParameters& d) {
  return {s.weights + d.bias.at.packed, 0};
}

// x_t and the time features of every row.
void add_noise(const TrainingProblem& p, const TrainingScratch& s) {
  const int64_t dim = p.shape.dim, stride = whole(dim), features = p.shape.time_features;
  for (int64_t row = 0; row < p.batch; ++row) {
    const int64_t t = s.draws.timestep[row];
    for (int64_t j = 0; j < dim; ++j) {
      const float clean = 2.0f * s.draws.x[row * dim + j] - 1.0f;
      s.x_t[row * stride + j] = p.signal[t] * clean + p.noise[t] * s.draws.eps[row * dim + j];
    }
    for (int64_t j = 0; j < features; ++j) s.features[row * whole(features) + j] = p.features[t * features + j];
  }
}

// Conditioning of every row and block, the bias of expand included, in `shifts`.
void condition(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s) {
  const int64_t width = whole(p.shape.width), hidden = p.shape.hidden(), all = p.shape.shifts();
  const int64_t context = whole(p.shape.context_width);
  apply_dense(s, layout.time_input.weight, p.batch, s.features, whole(p.shape.time_features),
              bias_of(s, layout.time_input), {s.time_slope, width});
  activate(p.batch * width, s.time_slope, s.time_hidden);
  for (int64_t c = 0; c < all; c += kLanes) {
    const float* expand_bias = s.weights + layout.expand(c / hidden).bias.at.packed + c % hidden;
    store(s.shift_start + c, load(s.weights + layout.time_output.bias.at.packed + c) + load(expand_bias));
  }
  for (int64_t row = 0; row < p.batch; ++row) {
    const float* flag = s.weights + layout.flag.at.packed + s.draws.improve[row] * layout.flag.stride();
    for (int64_t c = 0; c < all; c += kLanes) {
      store(s.shifts + row * all + c, load(s.shift_start + c) + load(flag + c));
    }
  }
  apply_dense(s, layout.time_output.weight, p.batch, s.time_hidden, width, {s.shifts, all}, {s.shifts, all});
  apply_dense(s, layout.context, p.batch, s.pooled, context, {s.shifts, all}, {s.shifts, all});
}

// Residual blocks and output; the gradient of the loss takes the place of the prediction. Returns the loss.
double predict(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s) {
  const int64_t dim = p.shape.dim, stride = whole(dim), width = whole(p.shape.width), hidden = p.shape.hidden();
  const int64_t all = p.shape.shifts(), blocks = p.shape.blocks;
  apply_dense(s, layout.input.weight, p.batch, s.x_t, stride, bias_of(s, layout.input), {s.stream, width});
  for (int64_t b = 0; b < blocks; ++b) {
    const float* in = s.stream + b * p.batch * width;
    float* out = s.stream + (b + 1) * p.batch * width;
    float *shifts = s.shifts + b * hidden, *silus = s.hidden + b * p.batch * hidden;
    const float* bias = s.weights + layout.contract(b).bias.at.packed;
    apply_dense(s, layout.expand(b).weight, p.batch, in, width, {shifts, all}, {shifts, all});
    for (int64_t row = 0; row < p.batch; ++row) activate(hidden, shifts + row * all, silus + row * hidden);
    for (int64_t row = 0; row < p.batch; ++row) {
      for (int64_t c = 0; c < width; c += kLanes) {
        store(out + row * width + c, load(in + row * width + c) + load(bias + c));
      }
    }
    apply_dense(s, layout.contract(b).weight, p.batch, silus, hidden, {out, width}, {out, width});
  }
  apply_dense(s, layout.output.weight, p.batch, s.stream + blocks * p.batch * width, width, bias_of(s, layout.output),
              {s.predicted, stride});
  double sum = 0.0;
  const float scale = 2.0f / static_cast<float>(p.batch * dim);
  for (int64_t row = 0; row < p.batch; ++row) {
    for (int64_t j = 0; j < dim; ++j) {
      const float error = s.predicted[row * stride + j] - s.draws.eps[row * dim + j];
      sum += static_cast<double>(error) * error;
      s.predicted[row * stride + j] = error * scale;
    }
  }
  return sum / static_cast<double>(p.batch * dim);
}

// Gradients of all of the Network's parameters, and that of the pooled contexts.
void predict_backward(const TrainingLayout& layout, const TrainingProblem& p, const TrainingScratch& s) {
  const int64_t stride = whole(p.shape.dim), width = whole(p.shape.width), hidden = p.shape.hidden();
  const int64_t all = p.shape.shifts(), context = whole(p.shape.context_width);
  dense_gradients(s, layout.output, p.batch, s.predicted, stride, s.stream + p.shape.blocks * p.batch * width, width);
  pull_back(s.weights, layout.output.weight, p.batch, s.predicted, stride, kZero, {s.stream_gradient, width});
  for (int64_t b = p.shape.blocks - 1; b >= 0; --b) {
    float* shifts = s.shifts + b * hidden;
    const DenseParameters contract = layout.contract(b), expand = layout.expand(b);
    dense_gradients(s, contract, p.batch, s.stream_gradient, width, s.hidden + b * p.batch * hidden, hidden);
    pull_back(s.weights, contract.weight, p.batch, s.stream_gradient, width, kZero, {s.hidden_gradient, hidden});
    for (int64_t row = 0; row < p.batch; ++row) {
      for (int64_t c = 0; c < hidden; c += kLanes) {
        float* at = shifts + row * all + c;
        store(at, load(at) * load(s.hidden_gradient + row * hidden + c));
      }
    }
    dense_gradients(s, expand, p.batch, shifts, all, s.stream + b * p.batch * width, width);
    pull_back(s.weights, expand.weight, p.batch, shifts, all, {s.stream_gradient, width}, {s.stream_gradient, width});
  }
  dense_gradients(s, layout.input, p.batch, s.stream_gradient, width, s.x_t, stride);

  float* flag = s.gradients + layout.flag.at.packed;
  __builtin_memset(flag, 0, sizeof(float) * layout.flag.packed_size());
  for (int64_t row = 0; row < p.batch; ++row) {
    float* to = flag + s.draws.improve[row] * layout.flag.stride();
    for (int64_t c = 0; c < all; c += kLanes) store(to + c, load(to + c) + load(s.shifts + row * all + c));
  }
  weight_gradient(s, layout.context, p.batch, s.shifts, all, s.pooled, context);
  pull_back(s.weights, layout.context, p.batch, s.shifts, all, kZero, {s.pooled_gradient, context});
  dense_gradients(s, layout.time_output, p.batch, s.shifts, all, s.time_hidden, width);
  pull_back(s.weights, layout.time_output.weight, p.batch, s.shifts, all, kZero, {s.time_hidden, width});
  for (int64_t i = 0; i < p.batch * width; i += kLanes) {
    store(s.time_slope + i, load(s.time_slope + i) * load(s.time_hidden + i));
  }
  dense_gradients(s, layout.time_input, p.batch, s.time_slope, width, s.features, whole(p.shape.time_features));
}

}  // namespace
}  // namespace diffhpo
