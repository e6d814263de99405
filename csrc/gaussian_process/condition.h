// SPDX-License-Identifier: Apache-2.0
// Conditioning a process on its trials: Rasmussen and Williams (2006), algorithm 2.1.
#pragma once

#include "gaussian_process/covariance.h"

namespace diffhpo {
namespace {

DIFFHPO_INLINE int64_t whole_vectors(int64_t count) { return (count + kDoubles - 1) / kDoubles * kDoubles; }

// Doubles that `condition_process` needs: the trials' coordinates and the factor, both with a trial in a lane.
DIFFHPO_INLINE int64_t condition_scratch(int64_t trials, int64_t dim) {
  return whole_vectors(trials) * (dim + trials + 1);
}

// sum over i in [first, stride) of a_i b_i, in an order of the lanes and of `first` alone.
DIFFHPO_INLINE double dot_from(const double* a, const double* b, int64_t first, int64_t count) {
  DVec sum = {};
  double rest = 0.0;
  int64_t i = first;
  for (; i < count && i % kDoubles != 0; ++i) rest += a[i] * b[i];
  for (; i + kDoubles <= count; i += kDoubles) sum = fused(load(a + i), load(b + i), sum);
  for (; i < count; ++i) rest += a[i] * b[i];
  for (int lane = 0; lane < kDoubles; ++lane) rest += sum[lane];
  return rest;
}

// The lower factor, a column [stride] after the other, in place of the covariance; false where there is none.
inline bool factorise(double* columns, int64_t n, int64_t stride) {
  for (int64_t j = 0; j < n; ++j) {
    double* column = columns + j * stride;
    const int64_t first = j / kDoubles * kDoubles;
    for (int64_t k = 0; k < j; ++k) {
      const double* earlier = columns + k * stride;
      const DVec factor = broadcast(-earlier[j]);
      for (int64_t i = first; i < n; i += kDoubles) {
        store(column + i, fused(factor, load(earlier + i), load(column + i)));
      }
    }
    const double pivot = column[j];
    if (!(pivot > 0.0) || pivot > 1e300) return false;
    const double root = __builtin_sqrt(pivot), inverse = 1.0 / root;
    for (int64_t i = j + 1; i < n; ++i) column[i] *= inverse;
    column[j] = root;
    for (int64_t i = first; i < j; ++i) column[i] = 0.0;
  }
  return true;
}

// Process `index` of `p`, from residuals [trials] (values minus prior means) and the variance `diagonal` of an
// observation's noise. Where the covariance cannot be factorised, 10, then 100, ... times `jitter` joins the
// diagonal; false where four such steps do not help.
inline bool condition_process(const Processes& p, int64_t index, const double* residuals, double diagonal,
                              double jitter, const Conditioned& to, double* scratch) {
  const int64_t n = p.trials, stride = whole_vectors(n);
  const double* points = p.points + index * n * p.dim;
  const uint8_t* shown = p.shown + index * n;
  const double amplitude = p.amplitude[index];
  double* coordinates = scratch;                     // [dim][stride]
  double* columns = coordinates + p.dim * stride;    // [trials][stride]
  double* whitened = columns + n * stride;           // [stride]
  for (int64_t d = 0; d < p.dim; ++d) {
    for (int64_t i = 0; i < stride; ++i) coordinates[d * stride + i] = i < n ? points[i * p.dim + d] : 0.0;
  }
  double extra = 0.0, step = jitter;
  for (int attempt = 0;; ++attempt) {
    for (int64_t j = 0; j < n; ++j) {
      double* column = columns + j * stride;
      squared_distances(points + j * p.dim, 1, coordinates, stride, p.dim, stride, column);
      covariances(p.kernels[index], amplitude, stride, column);
      for (int64_t i = 0; i < stride; ++i) {
        if (i >= n || !shown[i] || !shown[j]) column[i] = 0.0;
      }
      column[j] += (shown[j] ? diagonal : 1.0) + extra;
    }
    if (factorise(columns, n, stride)) break;
    if (attempt == 4) return false;
    step *= 10.0;
    extra += step;
  }
  double evidence = 0.0;
  for (int64_t i = 0; i < stride; ++i) whitened[i] = i < n && shown[i] ? residuals[index * n + i] : 0.0;
  for (int64_t j = 0; j < n; ++j) {
    const double* column = columns + j * stride;
    const double value = whitened[j] / column[j];
    whitened[j] = value;
    for (int64_t i = j + 1; i < n; ++i) whitened[i] -= value * column[i];
    evidence -= 0.5 * value * value;
    if (shown[j]) evidence -= __builtin_log(column[j]) + 0.91893853320467274178;  // log sqrt(2 pi)
  }
  to.evidence[index] = evidence;
  double* weights = to.weights + index * n;
  for (int64_t j = n - 1; j >= 0; --j) {
    const double* column = columns + j * stride;
    whitened[j] = (whitened[j] - dot_from(column, whitened, j + 1, n)) / column[j];
    weights[j] = whitened[j];
  }
  double* factor = to.factor + index * n * n;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) factor[i * n + j] = j <= i ? columns[j * stride + i] : 0.0;
  }
  return true;
}

}  // namespace
}  // namespace diffhpo
