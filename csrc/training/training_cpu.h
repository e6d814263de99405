// SPDX-License-Identifier: Apache-2.0
// Training on the CPU: a scheduler over tasks, and the task's kernel, built once per ISA.
#pragma once

#include <cstdint>

#include "training/training.h"
#include "training/training_scratch.h"
#include "cpu/worker_threads.h"

namespace diffhpo {

enum class Isa;

// Parameters and moments lie packed in `scratch`. Returns the steps done: all, unless stopped between two.
using TrainTask = int64_t (*)(const TrainingProblem&, const TrainingLayout&, int64_t task, int64_t first_trial,
                              const TrainingScratch&, StopSignal);
// The draws of one step, for tests; the batch of `problem`'s first task.
using DrawTask = void (*)(const TrainingProblem&, int64_t step, const TrainingScratch&);

#define DIFFHPO_DECLARE_KERNELS(isa)                                                                        \
  namespace isa {                                                                                           \
  int64_t train_task(const TrainingProblem&, const TrainingLayout&, int64_t task, int64_t first_trial,      \
                     const TrainingScratch&, StopSignal);                                                   \
  void draw_task(const TrainingProblem&, int64_t step, const TrainingScratch&);                             \
  }
DIFFHPO_DECLARE_KERNELS(portable)
DIFFHPO_DECLARE_KERNELS(avx2)
DIFFHPO_DECLARE_KERNELS(avx512)
#undef DIFFHPO_DECLARE_KERNELS

// All tasks on `threads` threads. When `interrupted` says true every task ends after a whole step.
void train_cpu(const TrainingProblem& problem, Isa isa, int threads, StopSignal interrupted);

// What a step draws: query [R], x [R, d], improve [R], mask [R, n], t [R], eps [R, d].
struct DrawnBatch {
  int64_t* query;
  float* x;
  int64_t* improve;
  int64_t* mask;
  int64_t* t;
  float* eps;
};
void draw_cpu(const TrainingProblem& problem, int64_t step, Isa isa, const DrawnBatch& out);

}  // namespace diffhpo
