// SPDX-License-Identifier: Apache-2.0
// Python's names of the reverse loop on CUDA devices.

#include <string>

#include "bindings/bindings.h"
#include "bindings/denoise_arguments.h"
#include "cuda/denoise_cuda.h"
#include "cuda/fragment_layout.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

// Bytes of the weights as the bf16 kernels read them, or 0 where those do not cover the network.
int64_t fragment_bytes(int64_t dim, int64_t width, int64_t blocks) {
  const NetworkLayout network = checked_layout(dim, width, blocks);
  return has_fragments(dim, width) ? FragmentLayout::of(network).bytes() : 0;
}

#ifdef DIFFHPO_CUDA

void throw_if(const std::string& error) {
  if (!error.empty()) throw std::runtime_error(error);
}

void require_aligned(const void* pointer, const char* name) {
  if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) {
    throw py::value_error(std::string(name) + " does not start at a multiple of 16 bytes; pass " + name + ".clone()");
  }
}

void require_device(int device, std::initializer_list<int> others) {
  for (int other : others) {
    if (other != device) throw py::value_error("the tensors lie on different CUDA devices");
  }
}

TensorView<uint8_t> checked_fragments(const py::object& fragments, const NetworkLayout& network, int device) {
  TensorView<uint8_t> view(fragments, "coded", dlpack::kCuda);
  if (!has_fragments(network.dim, network.width)) {
    throw py::value_error("the bf16 kernels cover widths 32, 64, 96 and 128 and up to 64 dimensions");
  }
  view.require({FragmentLayout::of(network).bytes()});
  require_aligned(view.data(), "coded");
  require_device(device, {view.device_index()});
  return view;
}

void arrange(const py::object& out, const py::object& packed, int64_t dim, int64_t width, int64_t blocks,
             uintptr_t stream) {
  const NetworkLayout network = checked_layout(dim, width, blocks);
  const TensorView<float> weights(packed, "packed", dlpack::kCuda);
  weights.require({network.size()});
  const int device = weights.device_index();
  const TensorView<uint8_t> fragments = checked_fragments(out, network, device);
  throw_if(arrange_cuda(network, weights.data(), fragments.data(), device, stream));
}

void run(const py::object& out, const py::object& status, const py::object& packed,
         const py::object& step_conditioning, const py::object& job_conditioning, const py::object& coefficients,
         const py::object& keys, const py::object& counts, const py::object& seeds, const py::object& first_candidates,
         const py::object& jobs_on_device, double guidance, bool clip, const std::string& precision,
         const py::object& coded, uintptr_t stream) {
  const DenoiseArguments arguments(out, packed, step_conditioning, job_conditioning, coefficients, keys, counts, seeds,
                                   first_candidates, dlpack::kCuda);
  DenoiseProblem problem = arguments.problem(guidance, clip);
  const TensorView<int64_t> diverged(status, "status", dlpack::kCuda);
  const TensorView<int64_t> jobs(jobs_on_device, "jobs_on_device", dlpack::kCuda);
  diverged.require({1});
  jobs.require({problem.jobs, 3});
  const int device = arguments.x.device_index();
  require_device(device, {arguments.weights.device_index(), arguments.step_conditioning.device_index(),
                          arguments.job_conditioning.device_index(), arguments.coefficients.device_index(),
                          arguments.keys.device_index(), diverged.device_index(), jobs.device_index()});
  if (!parse_precision(precision.c_str(), &problem.precision) || problem.precision == Precision::int8) {
    throw py::value_error("precision is '" + precision + "'; accepted on CUDA: fp32, bf16");
  }
  if (problem.precision == Precision::fp32) {
    throw_if(denoise_cuda(problem, jobs.data(), diverged.data(), device, stream));
    return;
  }
  const TensorView<uint8_t> fragments = checked_fragments(coded, problem.layout, device);
  require_aligned(problem.step_conditioning, "step_conditioning");
  require_aligned(problem.job_conditioning, "job_conditioning");
  problem.coded = fragments.data();
  throw_if(denoise_cuda_bf16(problem, jobs.data(), diverged.data(), device, stream));
}

#endif

}  // namespace

void bind_denoise_cuda(py::module_& m) {
  m.def("fragment_bytes", &fragment_bytes, py::arg("dim"), py::arg("width"), py::arg("blocks"));
#ifdef DIFFHPO_CUDA
  m.attr("cuda_built") = true;
  m.def("arrange_cuda", &arrange, py::arg("out"), py::arg("packed"), py::arg("dim"), py::arg("width"),
        py::arg("blocks"), py::arg("stream"));
  m.def("denoise_cuda", &run, py::arg("out"), py::arg("status"), py::arg("packed"), py::arg("step_conditioning"),
        py::arg("job_conditioning"), py::arg("coefficients"), py::arg("keys"), py::arg("counts"), py::arg("seeds"),
        py::arg("first_candidates"), py::arg("jobs_on_device"), py::arg("guidance"), py::arg("clip"),
        py::arg("precision"), py::arg("coded"), py::arg("stream"));
#else
  m.attr("cuda_built") = false;
#endif
}

}  // namespace diffhpo
