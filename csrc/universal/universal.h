// SPDX-License-Identifier: Apache-2.0
// The universal model in evaluation: contexts of any dimension -> embeddings, the kernels' coordinates of points, and
// the correction of the Gaussian processes by attention. The modules of model/universal/ define what is computed.
//
// A dimension or trial that is masked is not computed with: what stands there is never read. A context has the same
// bits alone or among others, a point alone or among others.
#pragma once

#include <cstdint>

#include "universal/universal_layout.h"

namespace diffhpo {

// B contexts of n trials and D dimensions, fewer where masked.
struct EmbedProblem {
  UniversalEncoderLayout layout;
  const float* weights;
  int64_t contexts, trials, dims;  // B, n, D
  const float* x;                  // [B, n, D]
  const double* y;                 // [B, n] larger is better, no nan
  const uint8_t* mask;             // [B, n] not 0 where there is a trial
  const int64_t* kinds;            // [B, D] in [0, kKinds), kPadding where there is no dimension
  const int64_t* roles;            // [B, D] in [0, kRoles)
  const int64_t* names;            // [B, D] in [0, kNames), or null: by canonical order
  double* scale;                   // [4, B] out: median, span, location, scale of the values (value_scale.h)
  float* z;                        // [B, n] out, 0 where masked, as are the next two
  float* codes;                    // [B, D, W] out
  float* tokens;                   // [B, 1 + n, W] out
  float* pooled;                   // [B, W] out
};
constexpr int64_t kPadding = 3;  // of kinds

// What the Predictor reads off the embeddings. All out but the first four.
struct KernelSpaceProblem {
  UniversalPredictorLayout layout;
  const float* weights;
  int64_t contexts, dims;
  const float* codes;    // [B, D, W]
  const float* pooled;   // [B, W]
  const uint8_t* mask;   // [B, D] not 0 where there is a dimension
  float* inverse;        // [B, K, D] inverse lengthscales, 0 where masked
  float* warp_a;         // [B, D] exponents a and b of 1 - (1 - x^a)^b
  float* warp_b;         // [B, D]
  float* emphasis;       // [B, F] factors of the learned coordinates
  float* constant;       // [B, K] prior means
  float* amplitude;      // [B, K] prior variances
  float* noise;          // [B, K] variances
  float* log_prior;      // [B, K] log weights, not normalised
};

// N points for each context: kernel coordinates, prior means, and the embeddings that attention starts from.
struct PointsProblem {
  UniversalPredictorLayout layout;
  const float* weights;
  int64_t contexts, points, dims;  // B, N, D
  const float* x;                  // [B, N, D]
  const float* codes;              // [B, D, W]
  const float* pooled;             // [B, W]
  const uint8_t* mask;             // [B, D]
  const float* inverse;            // [B, K, D], as the next from a KernelSpaceProblem
  const float* warp_a;             // [B, D]
  const float* warp_b;             // [B, D]
  const float* emphasis;           // [B, F]
  const float* constant;           // [B, K]
  float* coordinates;              // [B, K, N, D + F] out
  float* mean;                     // [B, K, N] out
  float* embedded;                 // [B, N, W] out
};

// N candidates for each context: the processes' predictions, corrected.
struct CorrectProblem {
  UniversalPredictorLayout layout;
  const float* weights;
  int64_t contexts, points, trials;  // B, N, n
  const float* embedded;             // [B, N, W]
  const float* prior_mean;           // [B, K, N]
  const double* mean;                // [B, K, N] of the residuals
  const double* variance;            // [B, K, N] of the noise-free values, positive
  const double* noise;               // [B, K]
  const float* log_weights;          // [B, K]
  const float* z;                    // [B, n]
  const float* tokens;               // [B, 1 + n, W]
  const uint8_t* mask;               // [B, n]
  bool noisy;
  float* mixture;                    // [3, B, N, K] out: log weights, means, deviations
};

}  // namespace diffhpo
