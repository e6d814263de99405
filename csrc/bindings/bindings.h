// SPDX-License-Identifier: Apache-2.0
// What the bindings of all kernels share. Everything is checked here: the kernels trust their views.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>

#include "cpu/isa.h"
#include "denoise/precision.h"
#include "bindings/released_gil.h"
#include "bindings/tensor_view.h"
#include "cpu/worker_threads.h"

namespace diffhpo {

void bind_peak(pybind11::module_& m);
void bind_snapshot(pybind11::module_& m);
void bind_denoise(pybind11::module_& m);
void bind_denoise_cuda(pybind11::module_& m);
void bind_attention(pybind11::module_& m);
void bind_training(pybind11::module_& m);
void bind_gaussian_process(pybind11::module_& m);
void bind_universal(pybind11::module_& m);

// Throws ValueError unless the build exists and this processor runs it.
Isa runnable_isa(const std::string& name);

// Throws ValueError unless the precision is built for this ISA and this processor runs it.
Precision runnable_precision(const std::string& name, Isa isa);

// Throws ValueError unless it lies in [1, 4096].
int checked_threads(int64_t threads);

// Asks Python's signal handlers, taking the GIL. After the kernel, `raise_signal` throws what one of them raised.
extern const StopSignal kPythonSignals;
void raise_signal();

// torch.nn.Linear's (outputs, inputs) and (outputs,) -> panels (network_layout.h).
void pack_matrix(const TensorView<float>& from, int64_t outputs, int64_t inputs, float* to);
void pack_bias(const TensorView<float>& from, int64_t outputs, float* to);

}  // namespace diffhpo
