// SPDX-License-Identifier: Apache-2.0
// What the universal model sees of a context's values, and the names that it gives to dimensions: in double, because
// values are of any size, and the same for every ISA. model/universal/value_scale.py and dimensions.py are the
// meaning.
#pragma once

#include <cstdint>
#include <vector>

namespace diffhpo {

// z = (w(a) - location) / scale with a = (y - median) / span and w(a) = a for a >= 0, -log(1 - a) below.
struct ValueScale {
  double median, span, location, scale;
};

// y [m], none of them nan; m may be 0.
ValueScale fit_value_scale(const std::vector<double>& y);

float standardised(const ValueScale& scale, double y);

// z [m] -> [m, kValueFeatures]: z within 4, its mid-rank in [-1, 1], how far below the best within 6, whether it is the
// best, and log(1 + m) / log(100).
void describe_values(const float* z, int64_t trials, float* features);

// x [m, d], z [m] -> [d] the ranks of sum_i (1 + z_i) (x_ij - 1/2).
void name_dimensions(const float* x, const float* z, int64_t trials, int64_t dims, int32_t* names);

}  // namespace diffhpo
