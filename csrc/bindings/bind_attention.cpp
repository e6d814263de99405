// SPDX-License-Identifier: Apache-2.0
// Python's names of the attention kernels.

#include <initializer_list>
#include <string>
#include <vector>

#include "attention/attention_cpu.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

constexpr int64_t kLargestSize = 1 << 16;  // of a layout's sizes: far beyond use, and no product of them overflows

void check_sizes(std::initializer_list<int64_t> sizes, int64_t width, int64_t heads) {
  for (int64_t size : sizes) {
    if (size < 1 || size > kLargestSize) {
      throw py::value_error("sizes of the layout must lie in [1, " + std::to_string(kLargestSize) + "]");
    }
  }
  if (width % heads != 0) throw py::value_error("width must be a multiple of heads");
}

// (inputs, width, layers, heads)
EncoderLayout encoder_layout(const std::vector<int64_t>& sizes) {
  if (sizes.size() != 4) throw py::value_error("layout of an encoder has 4 sizes: inputs, width, layers, heads");
  check_sizes({sizes[0], sizes[1], sizes[2], sizes[3]}, sizes[1], sizes[3]);
  return {sizes[0], sizes[1], sizes[2], sizes[3]};
}

// (dim, width, layers, heads, source, bars)
PredictorLayout predictor_layout(const std::vector<int64_t>& sizes) {
  if (sizes.size() != 6) {
    throw py::value_error("layout of a predictor has 6 sizes: dim, width, layers, heads, source, bars");
  }
  check_sizes({sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]}, sizes[1], sizes[3]);
  return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
}

// Sum of `counts`, each at least `least`; they must add up to `rows` of the argument `of`.
void check_counts(const std::vector<int64_t>& counts, int64_t least, int64_t rows, const std::string& name,
                  const std::string& of) {
  const std::string message =
      name + " must be " + std::to_string(least) + " or more and add up to the rows of " + of;
  int64_t rest = rows;
  for (int64_t count : counts) {
    if (count < least || count > rest) throw py::value_error(message);
    rest -= count;
  }
  if (rest != 0) throw py::value_error(message);
}

int64_t encoder_size(const std::vector<int64_t>& layout) { return encoder_layout(layout).size(); }
int64_t predictor_size(const std::vector<int64_t>& layout) { return predictor_layout(layout).size(); }
// Whether the tokens themselves serve as keys and values (attention_layout.h).
bool predictor_shares_tokens(const std::vector<int64_t>& layout) { return predictor_layout(layout).block().shared; }

void encode(const py::object& tokens, const py::object& pooled, const py::object& packed, const py::object& inputs,
            const std::vector<int64_t>& counts, const std::vector<int64_t>& layout, const std::string& isa,
            int64_t threads) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  const TensorView<float> tokens_view(tokens, "tokens"), pooled_view(pooled, "pooled"), weights(packed, "packed"),
      inputs_view(inputs, "inputs");
  EncodeProblem p{};
  p.layout = encoder_layout(layout);
  p.jobs = static_cast<int64_t>(counts.size());
  weights.require({p.layout.size()});
  const int64_t trials = inputs_view.extent(0, 2);
  inputs_view.require({trials, p.layout.inputs});
  check_counts(counts, 0, trials, "counts", "inputs");
  tokens_view.require({trials + p.jobs, p.layout.width});
  pooled_view.require({p.jobs, p.layout.width});
  p.counts = counts.data();
  p.weights = weights.data();
  p.inputs = inputs_view.data();
  p.tokens = tokens_view.data();
  p.pooled = pooled_view.data();
  {
    const ReleasedGil released;
    encode_cpu(p, chosen, checked, kPythonSignals);
  }
  raise_signal();
}

void predict(const py::object& logits, const py::object& packed, const py::object& tokens, const py::object& x,
             const std::vector<int64_t>& token_counts, const std::vector<int64_t>& counts,
             const std::vector<int64_t>& layout, const std::string& isa, int64_t threads) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  const TensorView<float> logits_view(logits, "logits"), weights(packed, "packed"), tokens_view(tokens, "tokens"),
      x_view(x, "x");
  PredictProblem p{};
  p.layout = predictor_layout(layout);
  p.jobs = static_cast<int64_t>(counts.size());
  if (token_counts.size() != counts.size()) throw py::value_error("counts and token_counts differ in length");
  weights.require({p.layout.size()});
  const int64_t rows = x_view.extent(0, 2), all_tokens = tokens_view.extent(0, 2);
  x_view.require({rows, p.layout.dim});
  tokens_view.require({all_tokens, p.layout.source});
  check_counts(token_counts, 1, all_tokens, "token_counts", "tokens");
  check_counts(counts, 0, rows, "counts", "x");
  logits_view.require({rows, p.layout.bars});
  p.token_counts = token_counts.data();
  p.counts = counts.data();
  p.weights = weights.data();
  p.tokens = tokens_view.data();
  p.x = x_view.data();
  p.logits = logits_view.data();
  {
    const ReleasedGil released;
    predict_cpu(p, chosen, checked, kPythonSignals);
  }
  raise_signal();
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def("encoder_size", &encoder_size, py::arg("layout"));
  m.def("predictor_size", &predictor_size, py::arg("layout"));
  m.def("predictor_shares_tokens", &predictor_shares_tokens, py::arg("layout"));
  m.def("attention_encode", &encode, py::arg("tokens"), py::arg("pooled"), py::arg("packed"), py::arg("inputs"),
        py::arg("counts"), py::arg("layout"), py::arg("isa"), py::arg("threads"));
  m.def("attention_predict", &predict, py::arg("logits"), py::arg("packed"), py::arg("tokens"), py::arg("x"),
        py::arg("token_counts"), py::arg("counts"), py::arg("layout"), py::arg("isa"), py::arg("threads"));
}

}  // namespace diffhpo
