// SPDX-License-Identifier: Apache-2.0
// log(phi(u) + u Phi(u)), the log expected improvement of a standard normal value, exact where it underflows
// (Ament et al. 2023, arXiv 2310.20708, eq. 9).
#pragma once

#include "cpu/simd_double.h"

namespace diffhpo {
namespace {

constexpr double kLogRoot2Pi = 0.91893853320467274178, kInverseRoot2Pi = 0.39894228040143267794;
constexpr double kRootHalf = 0.70710678118654752440, kRootHalfPi = 1.25331413731550025121;

// erfcx(x) = exp(x^2) erfc(x) for x >= 0, relative error 1e-15. (1 + 2x) erfcx(x) is smooth in t = (x - 3) / (x + 3)
// (Shepherd and Laframboise 1981, Mathematics of Computation 36, who take 3.75); its Chebyshev expansion to degree 24,
// as a polynomial in t.
DIFFHPO_INLINE DVec scaled_complementary_error(DVec x) {
  constexpr double kPowers[] = {
      0x1.e750cac4778d3p-31,  0x1.0fbd1ff90e1c8p-30,  -0x1.24124a7979a5cp-27, -0x1.c9e3f1cd92f5bp-27,
      0x1.67206d83c9b4dp-25,  0x1.b58741910ab39p-24,  -0x1.3015c7bf14f85p-23, -0x1.4b0fad3f74c42p-21,
      0x1.7f26fd7caec6cp-22,  0x1.d20f41dbcb1c9p-19,  -0x1.88ba0a324beaap-21, -0x1.513b482a54a1dp-16,
      0x1.4c2781340ddffp-18,  0x1.065a34115a389p-13,  -0x1.b91279aaf4f8dp-14, -0x1.98db50d72f6fdp-11,
      0x1.ef1bdd4ca47a3p-10,  0x1.4b884e41eebcbp-9,   -0x1.8574c40bd189cp-6,  0x1.17ca2877f2532p-4,
      -0x1.e88b803a49228p-4,  0x1.098366a5b466cp-3,   -0x1.85a15c58aa5e6p-5,  -0x1.15c084bb9e8f2p-3,
      0x1.40c522d7e4987p+0};
  return polynomial(kPowers, (x - 3.0) / (x + 3.0)) / (1.0 + 2.0 * x);
}

DIFFHPO_INLINE DVec log_unit_improvement(DVec u) {
  const DVec size = u < DVec{} ? -u : u;
  // Of candidates as far off as 1e100 the square is finite still.
  const DVec far = size > broadcast(1e100) ? broadcast(1e100) : size;
  const DVec half_square = 0.5 * far * far, density = kInverseRoot2Pi * exponential(-half_square);
  const DVec scaled = scaled_complementary_error(far * kRootHalf);
  // phi(u) + u Phi(u); Phi(-|u|) = phi(u) sqrt(pi / 2) erfcx(|u| / sqrt(2)).
  const DVec tail = density * kRootHalfPi * scaled;
  const DVec direct = density + u * (u < DVec{} ? tail : 1.0 - tail);
  // phi(u) (1 - |u| Phi(u) / phi(u)); below -25 the difference has lost its digits, its asymptotic series has not.
  const DVec inverse = 1.0 / (far * far);
  constexpr double kSeries[] = {-10395.0, 945.0, -105.0, 15.0, -3.0, 1.0};
  const DVec series = inverse * polynomial(kSeries, inverse);
  const DVec remainder = size < broadcast(25.0) ? 1.0 - far * kRootHalfPi * scaled : series;
  const DVec low = u < broadcast(-1.0) ? DVec{} - 1.0 : DVec{};
  // One logarithm for both branches.
  const DVec branch = low < DVec{} ? remainder : direct;
  const DVec value = logarithm(at_least(branch, 1e-300));
  return low < DVec{} ? value - half_square - kLogRoot2Pi : value;
}

}  // namespace
}  // namespace diffhpo
