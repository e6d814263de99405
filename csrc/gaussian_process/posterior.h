// SPDX-License-Identifier: Apache-2.0
// Posterior means and variances of candidates, a candidate in a lane: what a candidate gets does not depend on which
// others there are.
#pragma once

#include "gaussian_process/covariance.h"

namespace diffhpo {
namespace {

constexpr int kTileVectors = 8;
constexpr int kTile = kTileVectors * kDoubles;  // candidates whose rows stay in the first-level cache

// Doubles that `posterior_tile` needs: coordinates and rows of a tile.
DIFFHPO_INLINE int64_t posterior_scratch(int64_t trials, int64_t dim) { return kTile * (dim + trials); }

// Candidates [first, first + kTile) of process `index`.
inline void posterior_tile(const Processes& p, int64_t index, const double* factor, const double* weights,
                           const Candidates& c, int64_t first, double* scratch) {
  const int64_t n = p.trials, count = c.count - first < kTile ? c.count - first : kTile;
  const double* trials = p.points + index * n * p.dim;
  const double* from = c.points + (index * c.count + first) * p.dim;
  const uint8_t* shown = p.shown + index * n;
  const double amplitude = p.amplitude[index];
  double* coordinates = scratch;              // [dim][kTile]
  double* rows = scratch + p.dim * kTile;     // [trials][kTile]
  for (int64_t d = 0; d < p.dim; ++d) {
    for (int64_t i = 0; i < kTile; ++i) coordinates[d * kTile + i] = i < count ? from[i * p.dim + d] : 0.0;
  }
  DVec mean[kTileVectors] = {}, square[kTileVectors] = {};
  for (int64_t j = 0; j < n; ++j) {
    double* row = rows + j * kTile;
    if (!shown[j]) {
      for (int64_t i = 0; i < kTile; ++i) row[i] = 0.0;
      continue;
    }
    squared_distances(trials + j * p.dim, 1, coordinates, kTile, p.dim, kTile, row);
    covariances(p.kernels[index], amplitude, kTile, row);
    const DVec weight = broadcast(weights[index * n + j]);
    for (int v = 0; v < kTileVectors; ++v) mean[v] = fused(weight, load(row + v * kDoubles), mean[v]);
  }
  for (int64_t j = 0; j < n; ++j) {
    double* row = rows + j * kTile;
    const double* line = factor + (index * n + j) * n;
    DVec value[kTileVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) value[v] = load(row + v * kDoubles);
    for (int64_t k = 0; k < j; ++k) {
      const DVec entry = broadcast(-line[k]);
#pragma GCC unroll 8
      for (int v = 0; v < kTileVectors; ++v) value[v] = fused(entry, load(rows + k * kTile + v * kDoubles), value[v]);
    }
    const DVec inverse = broadcast(1.0 / line[j]);
    for (int v = 0; v < kTileVectors; ++v) {
      value[v] = value[v] * inverse;
      square[v] = fused(value[v], value[v], square[v]);
      store(row + v * kDoubles, value[v]);
    }
  }
  double means[kTile], variances[kTile];
  for (int v = 0; v < kTileVectors; ++v) {
    store(means + v * kDoubles, mean[v]);
    store(variances + v * kDoubles, at_least(amplitude - square[v], kLeastVariance * amplitude));
  }
  const int64_t at = index * c.count + first;
  for (int64_t i = 0; i < count; ++i) {
    c.mean[at + i] = means[i];
    c.variance[at + i] = variances[i];
  }
  if (c.explained == nullptr) return;
  for (int64_t j = 0; j < n; ++j) {
    double* to = c.explained + (index * c.capacity + j) * c.count + first;
    for (int64_t i = 0; i < count; ++i) to[i] = rows[j * kTile + i];
  }
}

}  // namespace
}  // namespace diffhpo
