// SPDX-License-Identifier: Apache-2.0
// The update of one value by the coefficients of a reverse step.
#pragma once

#include "denoise/step_coefficients.h"

namespace diffhpo {
namespace {

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
