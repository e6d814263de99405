// SPDX-License-Identifier: Apache-2.0
// Python's names of the reverse loop.

#include <climits>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/denoise_arguments.h"
#include "denoise/denoise_cpu.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

int64_t packed_size(int64_t dim, int64_t width, int64_t blocks) { return checked_layout(dim, width, blocks).size(); }

void pack(const py::object& out, const py::object& input_weight, const py::object& input_bias,
          const std::vector<py::object>& expand_weights, const std::vector<py::object>& contract_weights,
          const std::vector<py::object>& contract_biases, const py::object& output_weight,
          const py::object& output_bias) {
  const TensorView<float> input(input_weight, "input_weight");
  const int64_t width = input.extent(0, 2), dim = input.extent(1, 2);
  const NetworkLayout layout = checked_layout(dim, width, static_cast<int64_t>(expand_weights.size()));
  if (contract_weights.size() != expand_weights.size() || contract_biases.size() != expand_weights.size()) {
    throw py::value_error("expand_weights, contract_weights and contract_biases must have one entry per block");
  }
  const TensorView<float> packed(out, "out");
  packed.require({layout.size()});
  float* to = packed.data();
  pack_matrix(input, width, dim, to + layout.input_weight());
  pack_bias({input_bias, "input_bias"}, width, to + layout.input_bias());
  for (int64_t b = 0; b < layout.blocks; ++b) {
    const std::string at = "[" + std::to_string(b) + "]";
    pack_matrix({expand_weights[b], "expand_weights" + at}, 2 * width, width, to + layout.expand_weight(b));
    pack_matrix({contract_weights[b], "contract_weights" + at}, width, 2 * width, to + layout.contract_weight(b));
    pack_bias({contract_biases[b], "contract_biases" + at}, width, to + layout.contract_bias(b));
  }
  pack_matrix({output_weight, "output_weight"}, dim, width, to + layout.output_weight());
  pack_bias({output_bias, "output_bias"}, dim, to + layout.output_bias());
}

void noise(const py::object& out, uint64_t seed, const py::object& candidates, int64_t key, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  const TensorView<int64_t> numbers(candidates, "candidates");
  const TensorView<float> z(out, "out");
  const int64_t count = numbers.extent(0, 1), dim = z.extent(1, 2);
  z.require({count, dim});
  if (key < 0 || key > UINT32_MAX) throw py::value_error("key must lie in [0, 2^32)");
  const ReleasedGil released;
  fill_noise(chosen, seed, numbers.data(), count, static_cast<uint32_t>(key), dim, z.data());
}

CodedLayout checked_coded_layout(int64_t dim, int64_t width, int64_t blocks, const std::string& precision) {
  Precision parsed;
  if (!parse_precision(precision.c_str(), &parsed) || parsed == Precision::fp32) {
    throw py::value_error("precision is '" + precision + "'; accepted: bf16, int8");
  }
  return {checked_layout(dim, width, blocks), parsed};
}

int64_t coded_size(int64_t dim, int64_t width, int64_t blocks, const std::string& precision) {
  return checked_coded_layout(dim, width, blocks, precision).size();
}

void encode(const py::object& out, const py::object& packed, int64_t dim, int64_t width, int64_t blocks,
            const std::string& precision) {
  const CodedLayout layout = checked_coded_layout(dim, width, blocks, precision);
  const TensorView<float> weights(packed, "packed");
  const TensorView<uint8_t> coded(out, "out");
  weights.require({layout.network.size()});
  coded.require({layout.size()});
  for (int64_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights.data()[i])) throw py::value_error("packed holds nan or inf");
  }
  encode_blocks(layout, weights.data(), coded.data());
}

// Views of the tokens that the blocks attend to; they keep the memory alive.
struct TokenArguments {
  TensorView<float> tokens;
  TensorView<int64_t> counts;
};

// Sets the problem's tokens; null if both arguments are None.
std::unique_ptr<TokenArguments> token_arguments(const py::object& tokens, const py::object& token_counts,
                                                DenoiseProblem& p) {
  if (tokens.is_none() && token_counts.is_none()) return nullptr;
  if (tokens.is_none() || token_counts.is_none()) {
    throw py::value_error("tokens and token_counts must be given together");
  }
  if (p.precision != Precision::fp32) throw py::value_error("tokens need precision fp32");
  auto views = std::make_unique<TokenArguments>(
      TokenArguments{{tokens, "tokens"}, {token_counts, "token_counts"}});
  const int64_t total = views->tokens.extent(0, 4);
  views->tokens.require({total, p.layout.blocks, 2, p.layout.width});
  views->counts.require({p.jobs});
  int64_t rest = total;
  for (int64_t job = 0; job < p.jobs; ++job) {
    const int64_t count = views->counts.data()[job];
    if (count < 0 || count > rest) rest = -1;
    if (rest < 0) break;
    rest -= count;
  }
  if (rest != 0) throw py::value_error("token_counts must be 0 or more and add up to the rows of tokens");
  if (total == 0) return nullptr;
  p.tokens = views->tokens.data();
  p.token_counts = views->counts.data();
  return views;
}

// The index of the first step at which a candidate was not finite, or -1.
int64_t run_cpu(const py::object& out, const py::object& packed, const py::object& step_conditioning,
                const py::object& job_conditioning, const py::object& coefficients, const py::object& keys,
                const py::object& counts, const py::object& seeds, const py::object& first_candidates,
                double guidance, bool clip, const std::string& isa, int64_t threads, const std::string& precision,
                const py::object& coded, const py::object& tokens, const py::object& token_counts) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  const DenoiseArguments arguments(out, packed, step_conditioning, job_conditioning, coefficients, keys, counts, seeds,
                                   first_candidates, dlpack::kCpu);
  DenoiseProblem problem = arguments.problem(guidance, clip);
  problem.precision = runnable_precision(precision, chosen);
  const TensorView<uint8_t> codes(coded, "coded");
  const bool plain = problem.precision == Precision::fp32;
  codes.require({plain ? 0 : CodedLayout{problem.layout, problem.precision}.size()});
  problem.coded = plain ? nullptr : codes.data();
  if (reinterpret_cast<uintptr_t>(problem.coded) % alignof(float) != 0) {
    throw py::value_error("coded is not aligned to 4 bytes");
  }
  const std::unique_ptr<TokenArguments> of_tokens = token_arguments(tokens, token_counts, problem);
  for (int64_t step = 0; step <= problem.steps; ++step) {
    if (problem.keys[step] < 0 || problem.keys[step] > UINT32_MAX) {
      throw py::value_error("keys must lie in [0, 2^32)");
    }
  }
  int64_t diverged;
  {
    const ReleasedGil released;
    diverged = denoise_cpu(problem, chosen, checked, kPythonSignals);
  }
  raise_signal();
  return diverged == kNotDiverged ? -1 : diverged;
}

}  // namespace

void bind_denoise(py::module_& m) {
  m.def("packed_size", &packed_size, py::arg("dim"), py::arg("width"), py::arg("blocks"));
  m.def("pack", &pack, py::arg("out"), py::arg("input_weight"), py::arg("input_bias"), py::arg("expand_weights"),
        py::arg("contract_weights"), py::arg("contract_biases"), py::arg("output_weight"), py::arg("output_bias"));
  m.def("coded_size", &coded_size, py::arg("dim"), py::arg("width"), py::arg("blocks"), py::arg("precision"));
  m.def("encode", &encode, py::arg("out"), py::arg("packed"), py::arg("dim"), py::arg("width"), py::arg("blocks"),
        py::arg("precision"));
  m.def("noise", &noise, py::arg("out"), py::arg("seed"), py::arg("candidates"), py::arg("key"), py::arg("isa"));
  m.def("denoise_cpu", &run_cpu, py::arg("out"), py::arg("packed"), py::arg("step_conditioning"),
        py::arg("job_conditioning"), py::arg("coefficients"), py::arg("keys"), py::arg("counts"), py::arg("seeds"),
        py::arg("first_candidates"), py::arg("guidance"), py::arg("clip"), py::arg("isa"), py::arg("threads"),
        py::arg("precision"), py::arg("coded"), py::arg("tokens") = py::none(),
        py::arg("token_counts") = py::none());
}

}  // namespace diffhpo
