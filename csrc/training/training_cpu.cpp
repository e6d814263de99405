// SPDX-License-Identifier: Apache-2.0
// All steps of one task. Compiled once per ISA into the namespace DIFFHPO_ISA.

#include "training/training_cpu.h"

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

#include "training/network_training.h"
#include "training/transformer_training.h"
#include "training/triple_draws.h"

namespace diffhpo {
namespace {

Trials trials_of(const TrainingProblem& p, int64_t task, int64_t first) {
  return {p.trials[task], p.x + first * p.shape.dim, p.y + first, p.ranks + first, p.thresholds + first};
}

// What does not change from step to step.
void begin(const TrainingProblem& p, const Trials& trials, const TrainingScratch& s) {
  const int64_t dim = p.shape.dim, stride = whole(dim + 2);
  __builtin_memset(s.scaled_x, 0, sizeof(float) * trials.count * stride);
  for (int64_t i = 0; i < trials.count; ++i) {
    for (int64_t j = 0; j < dim; ++j) s.scaled_x[i * stride + j] = 2.0f * trials.x[i * dim + j] - 1.0f;
  }
  for (int64_t c = 0; c < p.shape.context_width; ++c) s.column_mask[c] = 1.0f;
}

double differentiate(const TrainingProblem& p, const TrainingLayout& layout, const Trials& trials, uint64_t seed,
                     int64_t step, const TrainingScratch& s) {
  draw_step(p, trials, seed, static_cast<uint32_t>(step), s.draws);
  shape_of_values(trials, p.batch, s.draws, s.values);
  s.attention_start[0] = 0;
  for (int64_t row = 0; row < p.batch; ++row) {
    const Span span = span_of(s, row);
    s.attention_start[row + 1] = s.attention_start[row] + p.shape.heads * span.count * span.stride();
  }
  prepare_transformer(layout, s);
  prepare_network(layout, s);
  add_noise(p, s);
  encode(layout, p, s, trials.count);
  condition(layout, p, s);
  const double loss = predict(layout, p, s);
  predict_backward(layout, p, s);
  encode_backward(layout, p, s, trials.count);
  return loss;
}

// Kingma and Ba 2015, algorithm 1, in the order of operations of torch.optim.Adam; `count` updates with this one.
void adam(const TrainingScratch& s, int64_t size, double learning_rate, int64_t count) {
  const double first = 1.0 - __builtin_pow(0.9, static_cast<double>(count));
  const double second = 1.0 - __builtin_pow(0.999, static_cast<double>(count));
  const Vec rate = broadcast(static_cast<float>(learning_rate / first));
  const Vec root = broadcast(static_cast<float>(1.0 / __builtin_sqrt(second)));
  for (int64_t i = 0; i < size; i += kLanes) {
    const Vec g = load(s.gradients + i);
    const Vec m = fused(g - load(s.exp_avg + i), broadcast(static_cast<float>(1.0 - 0.9)), load(s.exp_avg + i));
    const Vec v = fused(g * g, broadcast(static_cast<float>(1.0 - 0.999)), load(s.exp_avg_sq + i) * 0.999f);
    store(s.exp_avg + i, m);
    store(s.exp_avg_sq + i, v);
    const Vec size_of_step = fused(square_root(v), root, broadcast(1e-8f));
    store(s.weights + i, load(s.weights + i) - divide(rate * m, size_of_step));
  }
}

}  // namespace

namespace DIFFHPO_ISA {

int64_t train_task(const TrainingProblem& p, const TrainingLayout& layout, int64_t task, int64_t first_trial,
                   const TrainingScratch& s, StopSignal stop) {
  const Trials trials = trials_of(p, task, first_trial);
  const uint64_t seed = static_cast<uint64_t>(p.seeds[task]);
  begin(p, trials, s);
  for (int64_t done = 0; done < p.steps; ++done) {
    if (stop.stopped(stop.state)) return done;
    const int64_t step = p.steps_done[task] + done;
    p.losses[task * p.steps + done] = differentiate(p, layout, trials, seed, step, s);
    if (p.gradients != nullptr) return 0;
    adam(s, layout.size.packed, p.learning_rate, step + 1);
  }
  return p.steps;
}

void draw_task(const TrainingProblem& p, int64_t step, const TrainingScratch& s) {
  draw_step(p, trials_of(p, 0, 0), static_cast<uint64_t>(p.seeds[0]), static_cast<uint32_t>(step), s.draws);
}

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
