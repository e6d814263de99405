// SPDX-License-Identifier: Apache-2.0
// Gaussian processes on the CPU: kernels built once per ISA, and what calls them.
#pragma once

#include <cstdint>

#include "gaussian_process/gaussian_process.h"

namespace diffhpo {

enum class Isa;

#define DIFFHPO_DECLARE_GAUSSIAN_PROCESS(isa)                                                                     \
  namespace isa {                                                                                                 \
  int64_t condition_size(int64_t trials, int64_t dim);                                                            \
  int64_t posterior_size(int64_t trials, int64_t dim);                                                            \
  int64_t condition(const Processes& p, const double* residuals, const double* noise, const double* jitter,       \
                    const Conditioned& to, double* scratch);                                                      \
  void posterior(const Processes& p, const double* factor, const double* weights, const Candidates& candidates,   \
                 double* scratch);                                                                                \
  double take_for_evaluated(const BeliefState& state, int64_t index, double* scratch);                            \
  void log_expected_improvement(const Mixture& mixture, double best, double* to);                                 \
  }
DIFFHPO_DECLARE_GAUSSIAN_PROCESS(portable)
DIFFHPO_DECLARE_GAUSSIAN_PROCESS(avx2)
DIFFHPO_DECLARE_GAUSSIAN_PROCESS(avx512)
#undef DIFFHPO_DECLARE_GAUSSIAN_PROCESS

}  // namespace diffhpo
