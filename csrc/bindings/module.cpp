// SPDX-License-Identifier: Apache-2.0
// The native module.

#include "bindings/bindings.h"

#include <vector>

#include "panels.h"

namespace py = pybind11;

namespace diffhpo {

Isa runnable_isa(const std::string& name) {
  Isa isa;
  if (!parse_isa(name.c_str(), &isa)) throw py::value_error("isa is '" + name + "'; see isas()");
  if (!isa_built(isa) || !isa_supported(isa)) {
    throw py::value_error("isa " + name + " is not built, or this processor does not have it");
  }
  return isa;
}

Precision runnable_precision(const std::string& name, Isa isa) {
  Precision precision;
  if (!parse_precision(name.c_str(), &precision)) throw py::value_error("precision is '" + name + "'; see precisions()");
  if (precision == Precision::fp32) return precision;
  if (isa != Isa::avx512 || !precision_built(precision) || !precision_supported(precision)) {
    throw py::value_error("precision " + name + " is not built for isa " + isa_name(isa) +
                          ", or this processor does not have it");
  }
  return precision;
}

int checked_threads(int64_t threads) {
  if (threads < 1 || threads > 4096) throw py::value_error("threads must lie in [1, 4096]");
  return static_cast<int>(threads);
}

namespace {

// Runs Python's signal handlers; true if one of them raised, which stays set as the error to raise.
bool signal_raised(void*) {
  const HeldGil held;
  return PyErr_CheckSignals() != 0;
}

std::vector<std::string> isas(bool runnable) {
  std::vector<std::string> names;
  for (Isa isa : kIsas) {
    if (isa_built(isa) && (!runnable || isa_supported(isa))) names.emplace_back(isa_name(isa));
  }
  return names;
}

std::vector<std::string> precisions(const std::string& isa) {
  Isa chosen;
  std::vector<std::string> names;
  if (!parse_isa(isa.c_str(), &chosen)) throw py::value_error("isa is '" + isa + "'; see isas()");
  for (Precision precision : kPrecisions) {
    const bool low = precision != Precision::fp32;
    if (low && (chosen != Isa::avx512 || !precision_built(precision) || !precision_supported(precision))) continue;
    names.emplace_back(precision_name(precision));
  }
  return names;
}

}  // namespace

const StopSignal kPythonSignals{signal_raised, nullptr};

void raise_signal() {
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
}

void pack_matrix(const TensorView<float>& from, int64_t outputs, int64_t inputs, float* to) {
  from.require({outputs, inputs});
  for (int64_t j = 0; j < padded(outputs); ++j) {
    for (int64_t k = 0; k < inputs; ++k) {
      to[(j / kPanel * inputs + k) * kPanel + j % kPanel] = j < outputs ? from.data()[j * inputs + k] : 0.0f;
    }
  }
}

void pack_bias(const TensorView<float>& from, int64_t outputs, float* to) {
  from.require({outputs});
  for (int64_t j = 0; j < padded(outputs); ++j) to[j] = j < outputs ? from.data()[j] : 0.0f;
}

}  // namespace diffhpo

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native kernels of diffhpo. Call them through diffhpo.kernels.";
  m.def("isas", &diffhpo::isas, py::arg("runnable"),
        "Builds of the CPU kernels; with runnable, those that this machine can run.");
  m.def("precisions", &diffhpo::precisions, py::arg("isa"),
        "Precisions of the reverse loop that this machine can run with a build.");
  diffhpo::bind_peak(m);
  diffhpo::bind_snapshot(m);
  diffhpo::bind_denoise(m);
  diffhpo::bind_denoise_cuda(m);
  diffhpo::bind_attention(m);
  diffhpo::bind_training(m);
  diffhpo::bind_gaussian_process(m);
  diffhpo::bind_universal(m);
}
