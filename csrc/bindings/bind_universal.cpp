// SPDX-License-Identifier: Apache-2.0
// Python's names of the universal model's kernels.

#include <cmath>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "universal/universal_cpu.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

constexpr int64_t kLargestSize = 1 << 16;  // of a layout's sizes: far beyond use, and no product of them overflows

// (width, layers, heads) of either module.
template <class Layout>
Layout checked_layout(const std::vector<int64_t>& sizes) {
  if (sizes.size() != 3) throw py::value_error("layout has 3 sizes: width, layers, heads");
  for (int64_t size : sizes) {
    if (size < 1 || size > kLargestSize) {
      throw py::value_error("sizes of the layout must lie in [1, " + std::to_string(kLargestSize) + "]");
    }
  }
  if (sizes[0] % (2 * sizes[2]) != 0) throw py::value_error("width must be a multiple of twice the heads");
  return {sizes[0], sizes[1], sizes[2]};
}

int64_t encoder_size(const std::vector<int64_t>& layout) {
  return fields_of(checked_layout<UniversalEncoderLayout>(layout)).size;
}
int64_t predictor_size(const std::vector<int64_t>& layout) {
  return fields_of(checked_layout<UniversalPredictorLayout>(layout)).size;
}

int64_t checked_dims(int64_t dims) {
  if (dims < 1 || dims > kMostDims) {
    throw py::value_error("there are " + std::to_string(dims) + " dimensions; 1 to " + std::to_string(kMostDims) +
                          " are accepted");
  }
  return dims;
}

// Of trials or points. A tensor without elements may claim any extent, and sizes are computed of it.
int64_t checked_count(int64_t count) {
  constexpr int64_t most = (int64_t{1} << 31) - 1;
  if (count > most) throw py::value_error("more than " + std::to_string(most) + " rows");
  return count;
}

// A checked copy: other threads may write to the tensor while the kernel runs.
template <class T>
std::vector<T> copied(const TensorView<T>& view) {
  return std::vector<T>(view.data(), view.data() + view.size());
}

std::vector<int64_t> table_rows(const TensorView<int64_t>& view, int64_t rows, const std::string& name) {
  std::vector<int64_t> values = copied(view);
  for (int64_t value : values) {
    if (value < 0 || value >= rows) throw py::value_error(name + " must lie in [0, " + std::to_string(rows) + ")");
  }
  return values;
}

void embed(const py::object& scale, const py::object& z, const py::object& codes, const py::object& tokens,
           const py::object& pooled, const py::object& packed, const py::object& x, const py::object& y,
           const py::object& mask, const py::object& kinds, const py::object& roles, const py::object& names,
           const std::vector<int64_t>& layout, const std::string& isa, int64_t threads) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  EmbedProblem p{};
  p.layout = checked_layout<UniversalEncoderLayout>(layout);
  const int64_t width = p.layout.width;
  const TensorView<float> weights(packed, "packed"), x_view(x, "x");
  weights.require({fields_of(p.layout).size});
  const int64_t contexts = checked_count(x_view.extent(0, 3)), trials = checked_count(x_view.extent(1, 3)),
                dims = checked_dims(x_view.extent(2, 3));
  const TensorView<double> y_view(y, "y"), scale_view(scale, "scale");
  const TensorView<uint8_t> mask_view(mask, "mask");
  const TensorView<int64_t> kinds_view(kinds, "kinds"), roles_view(roles, "roles");
  const TensorView<float> z_view(z, "z"), codes_view(codes, "codes"), tokens_view(tokens, "tokens"),
      pooled_view(pooled, "pooled");
  y_view.require({contexts, trials});
  mask_view.require({contexts, trials});
  kinds_view.require({contexts, dims});
  roles_view.require({contexts, dims});
  scale_view.require({4, contexts});
  z_view.require({contexts, trials});
  codes_view.require({contexts, dims, width});
  tokens_view.require({contexts, 1 + trials, width});
  pooled_view.require({contexts, width});
  const std::vector<int64_t> checked_kinds = table_rows(kinds_view, kKinds, "kinds");
  const std::vector<int64_t> checked_roles = table_rows(roles_view, kRoles, "roles");
  std::vector<int64_t> checked_names;
  if (!names.is_none()) {
    const TensorView<int64_t> names_view(names, "names");
    names_view.require({contexts, dims});
    checked_names = table_rows(names_view, kNames, "names");
  }
  const std::vector<double> checked_y = copied(y_view);
  const std::vector<uint8_t> checked_mask = copied(mask_view);
  for (size_t i = 0; i < checked_y.size(); ++i) {
    if (checked_mask[i] != 0 && std::isnan(checked_y[i])) throw py::value_error("y holds nan");
  }
  p.weights = weights.data();
  p.contexts = contexts;
  p.trials = trials;
  p.dims = dims;
  p.x = x_view.data();
  p.y = checked_y.data();
  p.mask = checked_mask.data();
  p.kinds = checked_kinds.data();
  p.roles = checked_roles.data();
  p.names = names.is_none() ? nullptr : checked_names.data();
  p.scale = scale_view.data();
  p.z = z_view.data();
  p.codes = codes_view.data();
  p.tokens = tokens_view.data();
  p.pooled = pooled_view.data();
  {
    const ReleasedGil released;
    embed_cpu(p, chosen, checked, kPythonSignals);
  }
  raise_signal();
}

void kernel_space(const py::object& inverse, const py::object& warp_a, const py::object& warp_b,
                  const py::object& emphasis, const py::object& constant, const py::object& amplitude,
                  const py::object& noise, const py::object& log_prior, const py::object& packed,
                  const py::object& codes, const py::object& pooled, const py::object& mask,
                  const std::vector<int64_t>& layout, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  KernelSpaceProblem p{};
  p.layout = checked_layout<UniversalPredictorLayout>(layout);
  const int64_t width = p.layout.width;
  const TensorView<float> weights(packed, "packed"), codes_view(codes, "codes"), pooled_view(pooled, "pooled");
  const TensorView<uint8_t> mask_view(mask, "mask");
  weights.require({fields_of(p.layout).size});
  const int64_t contexts = codes_view.extent(0, 3), dims = checked_dims(codes_view.extent(1, 3));
  codes_view.require({contexts, dims, width});
  pooled_view.require({contexts, width});
  mask_view.require({contexts, dims});
  const TensorView<float> inverse_view(inverse, "inverse"), a_view(warp_a, "warp_a"), b_view(warp_b, "warp_b"),
      emphasis_view(emphasis, "emphasis"), constant_view(constant, "constant"), amplitude_view(amplitude, "amplitude"),
      noise_view(noise, "noise"), prior_view(log_prior, "log_prior");
  inverse_view.require({contexts, kProcesses, dims});
  a_view.require({contexts, 1, dims});
  b_view.require({contexts, 1, dims});
  emphasis_view.require({contexts, 1, kLearned});
  for (const TensorView<float>* view : {&constant_view, &amplitude_view, &noise_view, &prior_view}) {
    view->require({contexts, kProcesses});
  }
  p.weights = weights.data();
  p.contexts = contexts;
  p.dims = dims;
  p.codes = codes_view.data();
  p.pooled = pooled_view.data();
  p.mask = mask_view.data();
  p.inverse = inverse_view.data();
  p.warp_a = a_view.data();
  p.warp_b = b_view.data();
  p.emphasis = emphasis_view.data();
  p.constant = constant_view.data();
  p.amplitude = amplitude_view.data();
  p.noise = noise_view.data();
  p.log_prior = prior_view.data();
  const ReleasedGil released;
  kernel_space_cpu(p, chosen);
}

void points(const py::object& coordinates, const py::object& mean, const py::object& embedded,
            const py::object& packed, const py::object& x, const py::object& codes, const py::object& pooled,
            const py::object& mask, const py::object& inverse, const py::object& warp_a, const py::object& warp_b,
            const py::object& emphasis, const py::object& constant, const std::vector<int64_t>& layout,
            const std::string& isa, int64_t threads) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  PointsProblem p{};
  p.layout = checked_layout<UniversalPredictorLayout>(layout);
  const int64_t width = p.layout.width;
  const TensorView<float> weights(packed, "packed"), x_view(x, "x");
  weights.require({fields_of(p.layout).size});
  const int64_t contexts = checked_count(x_view.extent(0, 3)), count = checked_count(x_view.extent(1, 3)),
                dims = checked_dims(x_view.extent(2, 3));
  const TensorView<float> codes_view(codes, "codes"), pooled_view(pooled, "pooled"), inverse_view(inverse, "inverse"),
      a_view(warp_a, "warp_a"), b_view(warp_b, "warp_b"), emphasis_view(emphasis, "emphasis"),
      constant_view(constant, "constant"), coordinates_view(coordinates, "coordinates"), mean_view(mean, "mean"),
      embedded_view(embedded, "embedded");
  const TensorView<uint8_t> mask_view(mask, "mask");
  codes_view.require({contexts, dims, width});
  pooled_view.require({contexts, width});
  mask_view.require({contexts, dims});
  inverse_view.require({contexts, kProcesses, dims});
  a_view.require({contexts, 1, dims});
  b_view.require({contexts, 1, dims});
  emphasis_view.require({contexts, 1, kLearned});
  constant_view.require({contexts, kProcesses});
  coordinates_view.require({contexts, kProcesses, count, dims + kLearned});
  mean_view.require({contexts, kProcesses, count});
  embedded_view.require({contexts, count, width});
  p.weights = weights.data();
  p.contexts = contexts;
  p.points = count;
  p.dims = dims;
  p.x = x_view.data();
  p.codes = codes_view.data();
  const std::vector<uint8_t> steady_mask = copied(mask_view);
  p.pooled = pooled_view.data();
  p.mask = steady_mask.data();
  p.inverse = inverse_view.data();
  p.warp_a = a_view.data();
  p.warp_b = b_view.data();
  p.emphasis = emphasis_view.data();
  p.constant = constant_view.data();
  p.coordinates = coordinates_view.data();
  p.mean = mean_view.data();
  p.embedded = embedded_view.data();
  {
    const ReleasedGil released;
    points_cpu(p, chosen, checked, kPythonSignals);
  }
  raise_signal();
}

void correct(const py::object& mixture, const py::object& packed, const py::object& embedded,
             const py::object& prior_mean, const py::object& mean, const py::object& variance, const py::object& noise,
             const py::object& log_weights, const py::object& z, const py::object& tokens, const py::object& mask,
             bool noisy, const std::vector<int64_t>& layout, const std::string& isa, int64_t threads) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  CorrectProblem p{};
  p.layout = checked_layout<UniversalPredictorLayout>(layout);
  const int64_t width = p.layout.width;
  const TensorView<float> weights(packed, "packed"), embedded_view(embedded, "embedded"),
      prior_view(prior_mean, "prior_mean"), weights_view(log_weights, "log_weights"), z_view(z, "z"),
      tokens_view(tokens, "tokens"), mixture_view(mixture, "mixture");
  const TensorView<double> mean_view(mean, "mean"), variance_view(variance, "variance"), noise_view(noise, "noise");
  const TensorView<uint8_t> mask_view(mask, "mask");
  weights.require({fields_of(p.layout).size});
  const int64_t contexts = checked_count(embedded_view.extent(0, 3)), count = checked_count(embedded_view.extent(1, 3)),
                trials = checked_count(z_view.extent(1, 2));
  embedded_view.require({contexts, count, width});
  prior_view.require({contexts, kProcesses, count});
  mean_view.require({contexts, kProcesses, count});
  variance_view.require({contexts, kProcesses, count});
  noise_view.require({contexts, kProcesses});
  weights_view.require({contexts, kProcesses});
  z_view.require({contexts, trials});
  mask_view.require({contexts, trials});
  tokens_view.require({contexts, 1 + trials, width});
  mixture_view.require({3, contexts, count, kProcesses});
  p.weights = weights.data();
  p.contexts = contexts;
  p.points = count;
  p.trials = trials;
  p.embedded = embedded_view.data();
  p.prior_mean = prior_view.data();
  p.mean = mean_view.data();
  p.variance = variance_view.data();
  p.noise = noise_view.data();
  p.log_weights = weights_view.data();
  p.z = z_view.data();
  p.tokens = tokens_view.data();
  p.mask = mask_view.data();
  p.noisy = noisy;
  p.mixture = mixture_view.data();
  {
    const ReleasedGil released;
    correct_cpu(p, chosen, checked, kPythonSignals);
  }
  raise_signal();
}

}  // namespace

void bind_universal(py::module_& m) {
  m.def("universal_encoder_size", &encoder_size, py::arg("layout"));
  m.def("universal_predictor_size", &predictor_size, py::arg("layout"));
  m.def("universal_embed", &embed, py::arg("scale"), py::arg("z"), py::arg("codes"), py::arg("tokens"),
        py::arg("pooled"), py::arg("packed"), py::arg("x"), py::arg("y"), py::arg("mask"), py::arg("kinds"),
        py::arg("roles"), py::arg("names"), py::arg("layout"), py::arg("isa"), py::arg("threads"));
  m.def("universal_kernel_space", &kernel_space, py::arg("inverse"), py::arg("warp_a"), py::arg("warp_b"),
        py::arg("emphasis"), py::arg("constant"), py::arg("amplitude"), py::arg("noise"), py::arg("log_prior"),
        py::arg("packed"), py::arg("codes"), py::arg("pooled"), py::arg("mask"), py::arg("layout"), py::arg("isa"));
  m.def("universal_points", &points, py::arg("coordinates"), py::arg("mean"), py::arg("embedded"), py::arg("packed"),
        py::arg("x"), py::arg("codes"), py::arg("pooled"), py::arg("mask"), py::arg("inverse"),
        py::arg("warp_a"), py::arg("warp_b"), py::arg("emphasis"), py::arg("constant"), py::arg("layout"),
        py::arg("isa"), py::arg("threads"));
  m.def("universal_correct", &correct, py::arg("mixture"), py::arg("packed"), py::arg("embedded"),
        py::arg("prior_mean"), py::arg("mean"), py::arg("variance"), py::arg("noise"), py::arg("log_weights"),
        py::arg("z"), py::arg("tokens"), py::arg("mask"), py::arg("noisy"), py::arg("layout"), py::arg("isa"),
        py::arg("threads"));
}

}  // namespace diffhpo
