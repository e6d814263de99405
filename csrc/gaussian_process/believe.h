// SPDX-License-Identifier: Apache-2.0
// A candidate taken for evaluated at its predicted mean (kriging believer, Ginsbourger et al. 2010).
#pragma once

#include "gaussian_process/covariance.h"
#include "gaussian_process/improvement.h"

namespace diffhpo {
namespace {

constexpr int kMostParts = 64;  // processes of a mixture

// log sum_k exp(value_k), lane by lane.
DIFFHPO_INLINE DVec log_sum(const DVec* values, int64_t parts) {
  DVec top = broadcast(-1e308);
  for (int64_t k = 0; k < parts; ++k) top = values[k] > top ? values[k] : top;
  DVec sum = {};
  for (int64_t k = 0; k < parts; ++k) sum = sum + exponential(values[k] - top);
  return top + logarithm(sum);
}

DIFFHPO_INLINE DVec load_some(const double* from, int64_t count) {
  if (count >= kDoubles) return load(from);
  double values[kDoubles] = {};
  for (int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
}
DIFFHPO_INLINE void store_some(double* to, DVec v, int64_t count) {
  if (count >= kDoubles) return store(to, v);
  for (int64_t i = 0; i < count; ++i) to[i] = v[i];
}

// log E[max(value - best, 0)] of every candidate.
inline void log_improvements(const Mixture& m, double best, double* to) {
  for (int64_t c = 0; c < m.count; c += kDoubles) {
    const int64_t left = m.count - c;
    DVec each[kMostParts];
    for (int64_t k = 0; k < m.parts; ++k) {
      // A deviation of 0 would only stand in lanes that do not exist.
      const DVec deviation = at_least(load_some(m.deviations + k * m.count + c, left), 1e-300);
      const DVec u = (load_some(m.means + k * m.count + c, left) - best) / deviation;
      each[k] = load_some(m.log_weights + k * m.count + c, left) + log_unit_improvement(u) + logarithm(deviation);
    }
    store_some(to + c, log_sum(each, m.parts), left);
  }
}

// Takes candidate `index` for evaluated: every process is conditioned on the mixture's mean there, as on a trial's
// value, and its weight follows how well it had predicted that. Returns the mean.
inline double believe(const BeliefState& s, int64_t index, double* gains) {
  const Mixture& m = s.mixture;
  double value = 0.0, surprise[kMostParts], told[kMostParts];
  for (int64_t k = 0; k < m.parts; ++k) {
    value += __builtin_exp(m.log_weights[k * m.count + index]) * m.means[k * m.count + index];
  }
  for (int64_t k = 0; k < m.parts; ++k) {
    const double deviation = m.deviations[k * m.count + index];
    surprise[k] = value - m.means[k * m.count + index];
    told[k] = -0.5 * (surprise[k] / deviation) * (surprise[k] / deviation) - __builtin_log(deviation);
  }
  for (int64_t k = 0; k < m.parts; ++k) {
    const double* points = s.points + k * s.dim * m.count;
    double* explained = s.explained + k * s.capacity * m.count;
    double* variance = s.variance + k * m.count;
    const double least = kLeastVariance * s.amplitude[k], observed = variance[index] + s.noise[k];
    const double inverse = 1.0 / observed, root = 1.0 / __builtin_sqrt(observed), added = s.added[k];
    for (int64_t c = 0; c < m.count; c += kDoubles) {
      const int64_t left = m.count - c;
      DVec r2 = {};
      for (int64_t p = 0; p < s.dim; ++p) {
        const DVec away = load_some(points + p * m.count + c, left) - points[p * m.count + index];
        r2 = fused(away, away, r2);
      }
      double prior[kDoubles];
      store(prior, r2);
      covariances(s.kernels[k], s.amplitude[k], kDoubles, prior);
      DVec covariance = load(prior);
      for (int64_t r = 0; r < s.rows; ++r) {
        const double* row = explained + r * m.count;
        covariance = fused(broadcast(-row[index]), load_some(row + c, left), covariance);
      }
      store_some(gains + c, covariance, left);
    }
    // The candidate's own column is read to the end before anything of it is changed.
    for (int64_t c = 0; c < m.count; c += kDoubles) {
      const int64_t left = m.count - c;
      const DVec covariance = load_some(gains + c, left), row = covariance * root;
      const DVec before = load_some(variance + c, left);
      const DVec after = at_least(before - row * row, least);
      const DVec mean = load_some(m.means + k * m.count + c, left);
      const DVec deviation = load_some(m.deviations + k * m.count + c, left);
      // What attention made of a deviation is kept as a factor.
      const DVec share = square_root((after + added) / (before + added));
      store_some(explained + s.rows * m.count + c, row, left);
      store_some(variance + c, after, left);
      store_some(m.means + k * m.count + c, fused(covariance * inverse, broadcast(surprise[k]), mean), left);
      store_some(m.deviations + k * m.count + c, deviation * share, left);
    }
  }
  for (int64_t c = 0; c < m.count; c += kDoubles) {
    const int64_t left = m.count - c;
    DVec each[kMostParts];
    for (int64_t k = 0; k < m.parts; ++k) each[k] = load_some(m.log_weights + k * m.count + c, left) + told[k];
    const DVec whole = log_sum(each, m.parts);
    for (int64_t k = 0; k < m.parts; ++k) store_some(m.log_weights + k * m.count + c, each[k] - whole, left);
  }
  return value;
}

}  // namespace
}  // namespace diffhpo
