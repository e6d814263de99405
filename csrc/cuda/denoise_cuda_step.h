// SPDX-License-Identifier: Apache-2.0
// The coefficients of a reverse step in fp32, and the update of one value by them.
#pragma once

#include "host_device.h"

namespace diffhpo {
namespace {

// Where the noise is strong x0_hat is the small difference of two products hundreds of times larger, so there the
// factors are kept to float64's precision, as a float32 and its residue.
struct StepCoefficients {
  DIFFHPO_INLINE explicit StepCoefficients(const double* c)
      : x0_from_x(static_cast<float>(c[0])),
        x0_from_x_residue(static_cast<float>(c[0] - x0_from_x)),
        x0_from_eps(static_cast<float>(c[1])),
        x0_from_eps_residue(static_cast<float>(c[1] - x0_from_eps)),
        x0_weight(static_cast<float>(c[2])),
        x_weight(static_cast<float>(c[3])),
        sigma(static_cast<float>(c[4])) {}

  float x0_from_x, x0_from_x_residue, x0_from_eps, x0_from_eps_residue, x0_weight, x_weight, sigma;
};

// x_prev of one value; `z` counts where sigma is not zero.
__device__ __forceinline__ float reverse_step(const StepCoefficients& c, bool clip, float x, float eps, float z) {
  const float product = eps * c.x0_from_eps;
  const float error = fmaf(eps, c.x0_from_eps, -product);
  const float residue = fmaf(x, c.x0_from_x_residue, -fmaf(eps, c.x0_from_eps_residue, error));
  float x0 = fmaf(x, c.x0_from_x, -product) + residue;
  if (clip) x0 = fminf(fmaxf(x0, -1.0f), 1.0f);
  const float next = fmaf(x0, c.x0_weight, x * c.x_weight);
  return c.sigma != 0.0f ? fmaf(z, c.sigma, next) : next;
}

}  // namespace
}  // namespace diffhpo
