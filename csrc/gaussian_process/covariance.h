// SPDX-License-Identifier: Apache-2.0
// Correlations from squared distances.
#pragma once

#include "cpu/simd_double.h"
#include "gaussian_process/gaussian_process.h"

namespace diffhpo {
namespace {

// Keeps the slope of a square root at distance 0 finite where the same formula is differentiated.
constexpr double kNearZero = 1e-6;

// Rasmussen and Williams (2006), eq. 4.17, 4.18 and 4.9; k(r^2) with unit amplitude.
template <CovarianceKernel kernel>
DIFFHPO_INLINE DVec correlation(DVec r2) {
  if constexpr (kernel == CovarianceKernel::matern52) {
    const DVec s = square_root(fused(broadcast(5.0), r2, broadcast(kNearZero)));
    return fused(s, fused(s, broadcast(1.0 / 3.0), broadcast(1.0)), broadcast(1.0)) * exponential(-s);
  } else if constexpr (kernel == CovarianceKernel::matern12) {
    return exponential(-square_root(r2 + kNearZero));
  } else {
    return exponential(-0.5 * r2);
  }
}

// [count] squared distances -> amplitude times correlations, in place; count is filled up to whole vectors.
template <CovarianceKernel kernel>
DIFFHPO_INLINE void covariances_of(double amplitude, int64_t count, double* values) {
  for (int64_t c = 0; c < count; c += kDoubles) {
    store(values + c, amplitude * correlation<kernel>(load(values + c)));
  }
}

inline void covariances(int64_t kernel, double amplitude, int64_t count, double* values) {
  switch (static_cast<CovarianceKernel>(kernel)) {
    case CovarianceKernel::matern52:
      return covariances_of<CovarianceKernel::matern52>(amplitude, count, values);
    case CovarianceKernel::matern12:
      return covariances_of<CovarianceKernel::matern12>(amplitude, count, values);
    case CovarianceKernel::squared_exponential:
      return covariances_of<CovarianceKernel::squared_exponential>(amplitude, count, values);
  }
}

// Squared distances of one point [dim] and `count` others, whose coordinates stand `stride` apart: [dim][stride].
DIFFHPO_INLINE void squared_distances(const double* point, int64_t point_stride, const double* others, int64_t stride,
                                      int64_t dim, int64_t count, double* to) {
  for (int64_t c = 0; c < count; c += kDoubles) {
    DVec sum = {};
    for (int64_t p = 0; p < dim; ++p) {
      const DVec away = load(others + p * stride + c) - point[p * point_stride];
      sum = fused(away, away, sum);
    }
    store(to + c, sum);
  }
}

}  // namespace
}  // namespace diffhpo
