// SPDX-License-Identifier: Apache-2.0
#include "universal/value_scale.h"

#include <algorithm>
#include <cmath>

#include "universal/universal_layout.h"

namespace diffhpo {
namespace {

constexpr double kLargest = 1e150;  // sums and differences of larger values overflow

double bounded(double y) { return std::clamp(y, -kLargest, kLargest); }
double warped(double a) { return a >= 0.0 ? a : -std::log1p(-a); }

// Ascending, nan last: an order even where a value of z overflowed.
bool before(float a, float b) { return a < b || (std::isnan(b) && !std::isnan(a)); }

}  // namespace

ValueScale fit_value_scale(const std::vector<double>& y) {
  if (y.empty()) return {0.0, 1.0, 0.0, 1.0};
  std::vector<double> ordered(y.size());
  std::transform(y.begin(), y.end(), ordered.begin(), bounded);
  std::sort(ordered.begin(), ordered.end());
  const size_t last = ordered.size() - 1;
  ValueScale out{};
  out.median = (ordered[last / 2] + ordered[(last + 1) / 2]) / 2;
  // Half of the trials may tie for the best; a share of the whole range stands in then.
  out.span = std::max(ordered[last] - out.median, 0.05 * (ordered[last] - ordered[0]));
  if (!(out.span > 0.0)) out.span = 1.0;
  // In the order of the trials, as they came.
  const double count = static_cast<double>(y.size());
  double sum = 0.0, squares = 0.0;
  for (double value : y) sum += warped((bounded(value) - out.median) / out.span);
  out.location = sum / count;
  for (double value : y) {
    const double centred = warped((bounded(value) - out.median) / out.span) - out.location;
    squares += centred * centred;
  }
  const double deviation = std::sqrt(squares / count);
  out.scale = y.size() > 1 && deviation > 1e-9 ? deviation : 1.0;
  return out;
}

float standardised(const ValueScale& s, double y) {
  return static_cast<float>((warped((bounded(y) - s.median) / s.span) - s.location) / s.scale);
}

void describe_values(const float* z, int64_t trials, float* features) {
  if (trials == 0) return;
  std::vector<float> ordered(z, z + trials);
  std::sort(ordered.begin(), ordered.end(), before);
  float best = z[0];
  for (int64_t i = 1; i < trials; ++i) best = z[i] > best || std::isnan(z[i]) ? z[i] : best;
  best = std::max(best, -1e4f);
  const float others = static_cast<float>(std::max<int64_t>(trials - 1, 1));
  const float count = static_cast<float>(std::log1p(static_cast<double>(trials)) / std::log(100.0));
  for (int64_t i = 0; i < trials; ++i) {
    const auto below = std::lower_bound(ordered.begin(), ordered.end(), z[i], before) - ordered.begin();
    const auto above = ordered.end() - std::upper_bound(ordered.begin(), ordered.end(), z[i], before);
    const float missing = z[i] - best;
    float* to = features + i * kValueFeatures;
    to[0] = z[i] < -4.0f ? -4.0f : z[i] > 4.0f ? 4.0f : z[i];
    to[1] = static_cast<float>(below - above) / others;
    to[2] = missing < -6.0f ? -6.0f : missing;
    to[3] = missing == 0.0f ? 1.0f : 0.0f;
    to[4] = count;
  }
}

void name_dimensions(const float* x, const float* z, int64_t trials, int64_t dims, int32_t* names) {
  double statistic[kMostDims] = {};
  for (int64_t i = 0; i < trials; ++i) {
    const double weight = 1.0 + static_cast<double>(z[i]);
    for (int64_t j = 0; j < dims; ++j) statistic[j] += weight * (static_cast<double>(x[i * dims + j]) - 0.5);
  }
  for (int64_t j = 0; j < dims; ++j) {
    names[j] = 0;
    for (int64_t k = 0; k < dims; ++k) {
      names[j] += statistic[k] < statistic[j] || (statistic[k] == statistic[j] && k < j);
    }
  }
}

}  // namespace diffhpo
