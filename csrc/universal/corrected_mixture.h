// SPDX-License-Identifier: Apache-2.0
// What candidates see of the processes' predictions before they attend, and the predictions after.
#pragma once

#include "cpu/elementary.h"
#include "cpu/row_reductions.h"
#include "universal/context_codes.h"

namespace diffhpo {
namespace {

// The processes' predictions of a vector of candidates as they will be observed.
struct Predicted {
  Vec mean[kProcesses], variance[kProcesses], deviation[kProcesses];
};

DIFFHPO_INLINE Vec some_of(const double* from, int64_t count) {
  Vec v = broadcast(1.0f);
  for (int64_t lane = 0; lane < count; ++lane) v[lane] = static_cast<float>(from[lane]);
  return v;
}
DIFFHPO_INLINE Vec some_of(const float* from, int64_t count) {
  Vec v = broadcast(1.0f);
  for (int64_t lane = 0; lane < count; ++lane) v[lane] = from[lane];
  return v;
}

DIFFHPO_INLINE Predicted predicted(const CorrectProblem& p, int64_t context, int64_t first, int64_t count) {
  Predicted out;
  for (int64_t k = 0; k < kProcesses; ++k) {
    const int64_t process = context * kProcesses + k, at = process * p.points + first;
    out.mean[k] = some_of(p.prior_mean + at, count) + some_of(p.mean + at, count);
    out.variance[k] = some_of(p.variance + at, count);
    out.deviation[k] = square_root(out.variance[k] + static_cast<float>(p.noise[process]));
  }
  return out;
}

// The largest z of a context, 0 without trials.
DIFFHPO_INLINE float best_of(const CorrectProblem& p, int64_t context) {
  bool found = false;
  float best = 0.0f;
  for (int64_t i = context * p.trials; i < (context + 1) * p.trials; ++i) {
    if (p.mask[i] == 0 || (found && !(p.z[i] > best))) continue;
    best = p.z[i];
    found = true;
  }
  return best;
}

// embedded += posterior of what is seen: means, log deviations, and hopes in units of the deviation.
void embed_posterior(const CorrectProblem& p, int64_t context, float* seen, float* embedded) {
  const UniversalPredictorFields f = fields_of(p.layout);
  const int64_t width = p.layout.width, narrow = padded(width);
  const float best = best_of(p, context);
  for (int64_t first = 0; first < p.points; first += kLanes) {
    const int64_t count = p.points - first < kLanes ? p.points - first : kLanes;
    const Predicted now = predicted(p, context, first, count);
    for (int64_t k = 0; k < kProcesses; ++k) {
      const Vec level = at_most(at_least(now.mean[k], -8.0f), 8.0f), size = logarithm(now.deviation[k]);
      const Vec hope = at_most(at_least((now.mean[k] - best) / now.deviation[k], -6.0f), 6.0f);
      for (int64_t lane = 0; lane < count; ++lane) {
        float* row = seen + (first + lane) * kSeenStride;
        row[k] = level[lane];
        row[kProcesses + k] = size[lane];
        row[2 * kProcesses + k] = hope[lane];
      }
    }
  }
  for (int64_t i = 0; i < p.points; ++i) {
    copy_floats(p.embedded + (context * p.points + i) * width, width, embedded + i * narrow);
  }
  apply({p.weights + f.posterior, p.weights + f.attending + p.layout.attending().input_bias(),
         static_cast<int>(3 * kProcesses), static_cast<int>(width), Activation::residual},
        static_cast<int>(p.points), seen, kSeenStride, embedded, narrow);
}

// corrections [N, 3 K]: of log weights, of means in deviations, of log deviations.
void apply_corrections(const CorrectProblem& p, int64_t context, const float* corrections) {
  const int64_t all = p.contexts * p.points * kProcesses;
  for (int64_t first = 0; first < p.points; first += kLanes) {
    const int64_t count = p.points - first < kLanes ? p.points - first : kLanes;
    const Predicted now = predicted(p, context, first, count);
    Vec part[3 * kProcesses];
    for (int64_t c = 0; c < 3 * kProcesses; ++c) {
      part[c] = Vec{};
      for (int64_t lane = 0; lane < count; ++lane) part[c][lane] = corrections[(first + lane) * 3 * kProcesses + c];
    }
    Vec weight[kProcesses], sum = {};
    for (int64_t k = 0; k < kProcesses; ++k) weight[k] = part[k] + p.log_weights[context * kProcesses + k];
    Vec largest = weight[0];
    for (int64_t k = 1; k < kProcesses; ++k) largest = greater(largest, weight[k]);
    for (int64_t k = 0; k < kProcesses; ++k) sum = sum + exponential(at_least(weight[k] - largest, -87.0f));
    const Vec total = largest + logarithm(sum);
    for (int64_t k = 0; k < kProcesses; ++k) {
      const Vec mean = now.mean[k] + part[kProcesses + k] * now.deviation[k];
      const Vec spread = at_most(at_least(part[2 * kProcesses + k], -3.0f), 3.0f);
      Vec deviation = now.deviation[k] * exponential(spread);
      if (!p.noisy) {
        const float noise = static_cast<float>(p.noise[context * kProcesses + k]);
        deviation = deviation * square_root(now.variance[k] / (now.variance[k] + noise));
      }
      const Vec log_weight = weight[k] - total;
      for (int64_t lane = 0; lane < count; ++lane) {
        float* to = p.mixture + (context * p.points + first + lane) * kProcesses + k;
        to[0] = log_weight[lane];
        to[all] = mean[lane];
        to[2 * all] = deviation[lane];
      }
    }
  }
}

}  // namespace
}  // namespace diffhpo
