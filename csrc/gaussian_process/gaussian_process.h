// SPDX-License-Identifier: Apache-2.0
// Gaussian processes with given hyperparameters, in float64: squared distances of near trials are small, and a
// hundred trials of a smooth kernel leave float32 no digit to factorise.
#pragma once

#include <cstdint>

namespace diffhpo {

enum class CovarianceKernel : int64_t { matern52, matern12, squared_exponential };
constexpr int64_t kCovarianceKernels = 3;

// J processes, each with n trials in P coordinates in which its kernel is isotropic.
struct Processes {
  int64_t count;
  int64_t trials;
  int64_t dim;
  const int64_t* kernels;   // [count] of CovarianceKernel
  const double* points;     // [count][trials][dim]
  const double* amplitude;  // [count] prior variance
  const uint8_t* shown;     // [count][trials] whether a trial is told
};

// What conditioning on the trials gives.
struct Conditioned {
  double* factor;    // [count][trials][trials] lower Cholesky factor of the observations' covariance
  double* weights;   // [count][trials] covariance^-1 residuals
  double* evidence;  // [count] log marginal likelihood
};

// What is asked of N candidates.
struct Candidates {
  int64_t count;
  const double* points;  // [processes][count][dim]
  double* mean;          // [processes][count] of the residual
  double* variance;      // [processes][count] of the noise-free value
  double* explained;     // null, or [processes][capacity][count]: the first `trials` rows get factor^-1 cross-covariance
  int64_t capacity;
};

// A mixture of K processes' predictions of N candidates, K outside.
struct Mixture {
  int64_t count;       // N
  int64_t parts;       // K
  double* log_weights; // [parts][count] normalised
  double* means;       // [parts][count]
  double* deviations;  // [parts][count]
};

// Candidates that are taken for evaluated at their predicted means, one after the other.
struct BeliefState {
  int64_t dim;
  const int64_t* kernels;    // [parts]
  const double* points;      // [parts][dim][count], a coordinate of all candidates together
  const double* amplitude;   // [parts]
  const double* noise;       // [parts] of an observation, jitter included
  const double* added;       // [parts] variance that the mixture's deviations hold beside the noise-free value's
  double* explained;         // [parts][capacity][count]
  int64_t capacity;
  int64_t rows;              // of them in use
  double* variance;          // [parts][count] of the noise-free values
  Mixture mixture;
};

// A variance is not taken to be less than this share of the prior's.
constexpr double kLeastVariance = 1e-6;

}  // namespace diffhpo
