// SPDX-License-Identifier: Apache-2.0
// Packs each task's parameters and moments, picks the kernel's build and spreads the tasks over threads.

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/isa.h"
#include "training/training_cpu.h"

namespace diffhpo {
namespace {

void pack_tensor(const Parameter& t, const float* flat, float* packed) {
  for (int64_t i = 0; i < t.rows.count; ++i) {
    float* to = packed + t.at.packed + t.rows.place(i) * t.stride();
    const float* from = flat + t.at.flat + i * t.columns.count;
    for (int64_t j = 0; j < t.columns.count; j += t.columns.group) {
      std::memcpy(to + t.columns.place(j), from + j, sizeof(float) * t.columns.group);
    }
  }
}

void unpack_tensor(const Parameter& t, const float* packed, float* flat) {
  for (int64_t i = 0; i < t.rows.count; ++i) {
    const float* from = packed + t.at.packed + t.rows.place(i) * t.stride();
    float* to = flat + t.at.flat + i * t.columns.count;
    for (int64_t j = 0; j < t.columns.count; j += t.columns.group) {
      std::memcpy(to + j, from + t.columns.place(j), sizeof(float) * t.columns.group);
    }
  }
}

void pack(const TrainingLayout& layout, const float* flat, float* packed) {
  std::memset(packed, 0, sizeof(float) * layout.size.packed);
  layout.each([&](const Parameter& t) { pack_tensor(t, flat, packed); });
}

void unpack(const TrainingLayout& layout, const float* packed, float* flat) {
  layout.each([&](const Parameter& t) { unpack_tensor(t, packed, flat); });
}

int64_t largest_history(const TrainingProblem& p) {
  int64_t largest = 1;
  for (int64_t task = 0; task < p.tasks; ++task) largest = std::max(largest, p.trials[task]);
  return largest;
}

}  // namespace

void train_cpu(const TrainingProblem& p, Isa isa, int threads, StopSignal interrupted) {
  const TrainTask kernel = DIFFHPO_BUILD_OF(isa, train_task);
  const TrainingLayout layout(p.shape);
  const int64_t trials = largest_history(p);
  std::vector<int64_t> first(p.tasks + 1, 0);
  for (int64_t task = 0; task < p.tasks; ++task) first[task + 1] = first[task] + p.trials[task];
  const TrainingScratch sizes = divide_training_scratch(nullptr, layout, p.batch, trials);
  run_on_threads(p.tasks, threads, sizes.size, interrupted,
                 [&](int64_t task, float* memory, StopSignal stop) {
                   const TrainingScratch s = divide_training_scratch(memory, layout, p.batch, trials);
                   const int64_t at = task * layout.size.flat;
                   pack(layout, p.parameters + at, s.weights);
                   pack(layout, p.exp_avg + at, s.exp_avg);
                   pack(layout, p.exp_avg_sq + at, s.exp_avg_sq);
                   std::memset(s.gradients, 0, sizeof(float) * layout.size.packed);
                   const int64_t done = kernel(p, layout, task, first[task], s, stop);
                   if (p.gradients != nullptr) unpack(layout, s.gradients, p.gradients + at);
                   if (done == 0) return;
                   unpack(layout, s.weights, p.parameters + at);
                   unpack(layout, s.exp_avg, p.exp_avg + at);
                   unpack(layout, s.exp_avg_sq, p.exp_avg_sq + at);
                   p.steps_done[task] += done;
                 },
                 sizes.zero_floats);
}

void draw_cpu(const TrainingProblem& p, int64_t step, Isa isa, const DrawnBatch& out) {
  const DrawTask kernel = DIFFHPO_BUILD_OF(isa, draw_task);
  const TrainingLayout layout(p.shape);
  const int64_t trials = p.trials[0], dim = p.shape.dim;
  const int64_t size = divide_training_scratch(nullptr, layout, p.batch, trials).size;
  const StopSignal never{[](void*) { return false; }, nullptr};
  run_on_threads(1, 1, size, never, [&](int64_t, float* memory, StopSignal) {
    const TrainingScratch s = divide_training_scratch(memory, layout, p.batch, trials);
    kernel(p, step, s);
    for (int64_t row = 0; row < p.batch; ++row) {
      out.query[row] = s.draws.query[row];
      out.improve[row] = s.draws.improve[row];
      out.t[row] = s.draws.timestep[row];
      std::fill(out.mask + row * trials, out.mask + (row + 1) * trials, 0);
      const int64_t members = s.draws.token_start[row + 1] - s.draws.token_start[row] - 1;
      for (int64_t i = 0; i < members; ++i) out.mask[row * trials + s.draws.members[row * trials + i]] = 1;
    }
    std::memcpy(out.x, s.draws.x, sizeof(float) * p.batch * dim);
    std::memcpy(out.eps, s.draws.eps, sizeof(float) * p.batch * dim);
  });
}

}  // namespace diffhpo
