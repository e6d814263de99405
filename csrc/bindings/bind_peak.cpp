// SPDX-License-Identifier: Apache-2.0
// The probe of the machine's own limit, for benchmarks.

#include <string>

#include "bindings/bindings.h"
#include "cpu/fma_peak.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

int64_t run_multiply_add(int64_t rounds, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  if (rounds < 0 || rounds > (int64_t{1} << 40)) throw py::value_error("rounds must lie in [0, 2^40]");
  const ReleasedGil released;
  float sink = 0.999f;
  return DIFFHPO_BUILD_OF(chosen, multiply_add)(rounds, &sink);
}

}  // namespace

void bind_peak(py::module_& m) {
  m.def("multiply_add", &run_multiply_add, py::arg("rounds"), py::arg("isa"),
        "Independent float32 multiply-adds on registers; returns the floating-point operations done.");
}

}  // namespace diffhpo
