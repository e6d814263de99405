// SPDX-License-Identifier: Apache-2.0
// Compiled once per ISA into the namespace DIFFHPO_ISA.

#include "gaussian_process/gaussian_process_cpu.h"

#include "gaussian_process/believe.h"
#include "gaussian_process/condition.h"
#include "gaussian_process/posterior.h"

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

namespace diffhpo {
namespace DIFFHPO_ISA {

int64_t condition_size(int64_t trials, int64_t dim) { return condition_scratch(trials, dim); }
int64_t posterior_size(int64_t trials, int64_t dim) { return posterior_scratch(trials, dim); }

// The first process that cannot be conditioned, -1 where all can. `noise` and `jitter` are [count].
int64_t condition(const Processes& p, const double* residuals, const double* noise, const double* jitter,
                  const Conditioned& to, double* scratch) {
  for (int64_t index = 0; index < p.count; ++index) {
    if (!condition_process(p, index, residuals, noise[index] + jitter[index], jitter[index], to, scratch)) return index;
  }
  return -1;
}

void posterior(const Processes& p, const double* factor, const double* weights, const Candidates& candidates,
               double* scratch) {
  for (int64_t index = 0; index < p.count; ++index) {
    for (int64_t first = 0; first < candidates.count; first += kTile) {
      posterior_tile(p, index, factor, weights, candidates, first, scratch);
    }
  }
}

double take_for_evaluated(const BeliefState& state, int64_t index, double* scratch) {
  return believe(state, index, scratch);
}

void log_expected_improvement(const Mixture& mixture, double best, double* to) { log_improvements(mixture, best, to); }

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
