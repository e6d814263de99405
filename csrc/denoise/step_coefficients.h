// SPDX-License-Identifier: Apache-2.0
// The coefficients of a reverse step in float32, for host and device.
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

}  // namespace
}  // namespace diffhpo
