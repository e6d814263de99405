// SPDX-License-Identifier: Apache-2.0
// Training: many steps of J tasks in one call. A task has its own history, seed, parameters and Adam moments.
//
// Step k of seed s, of which everything random is a function of (s, k) alone (triple_draws.h):
//   (x, I, C, t), eps    drawn
//   x_t                = sqrt(abar_t) (2x - 1) + sqrt(1 - abar_t) eps             (Ho et al. 2020, eq. 4)
//   loss               = |network(x_t, t, I, transformer(C)) - eps|^2 / (batch d)
//   gradients of all parameters, then Adam (Kingma and Ba 2015, algorithm 1; betas 0.9 and 0.999, epsilon 1e-8)
//
// One task is worked on by one thread, and all its sums are taken in one order: its results are bitwise the same
// whatever the other tasks, their order, the number of threads and the cut of its steps into calls.
#pragma once

#include <cstdint>

#include "training/training_layout.h"

namespace diffhpo {

struct TrainingProblem {
  TrainingShape shape;
  int64_t tasks;                  // J
  int64_t steps;                  // S of this call
  int64_t batch;                  // R
  int64_t levels;                 // T
  // The forward process and the sinusoidal features of every timestep.
  const float* signal;            // [T] sqrt(abar_t)
  const float* noise;             // [T] sqrt(1 - abar_t)
  const float* features;          // [T, F]
  // Histories, one after another.
  const int64_t* trials;          // [J] trials n of every task, at least 1
  const float* x;                 // [sum n, d] in [0, 1]
  const double* y;                // [sum n]
  const int64_t* ranks;           // [sum n] in [0, n): equal for equal y, larger for larger y
  const int64_t* thresholds;      // [sum n] not decreasing, the last of a task 2^32: of the query's draw
  const int64_t* seeds;           // [J] the bits of a 64-bit seed
  // How triples are drawn.
  double jitter;                  // standard deviation on the scale of [-1, 1]
  int64_t jitter_below;           // of 2^32: the share of queries with jitter
  int64_t flag_dropout_below;     // of 2^32: the share of flags withheld
  bool balanced;
  bool exclude_query;

  double learning_rate;
  float* parameters;              // [J, P] in and out, flat (training_layout.h)
  float* exp_avg;                 // [J, P] in and out
  float* exp_avg_sq;              // [J, P] in and out
  int64_t* steps_done;            // [J] in and out: the number of the next step, in [0, 2^32 - S]
  double* losses;                 // [J, S] out; steps that an interrupt left out stay as they were
  float* gradients;               // null, or [J, P] out: then one step's gradients and loss, and no update
};

}  // namespace diffhpo
