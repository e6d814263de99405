// SPDX-License-Identifier: Apache-2.0
// Python's names of the Gaussian process kernels.

#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "gaussian_process/gaussian_process_cpu.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

constexpr int64_t kMostProcesses = 64;  // of one mixture

// Points in (processes, points, dim) or any other order of three axes: extents that no product of overflows.
void check_extent(int64_t extent, int64_t least, const std::string& name) {
  if (extent < least || extent > (1 << 24)) {
    throw py::value_error(name + " is " + std::to_string(extent) + "; it must lie in [" + std::to_string(least) +
                          ", 16777216]");
  }
}

void check_kernels(const std::vector<int64_t>& kernels, int64_t count) {
  if (static_cast<int64_t>(kernels.size()) != count) throw py::value_error("kernels must have one entry a process");
  for (int64_t kernel : kernels) {
    if (kernel < 0 || kernel >= kCovarianceKernels) throw py::value_error("kernels has an unknown entry");
  }
}

struct GivenProcesses {
  GivenProcesses(const py::object& points, const py::object& amplitude, const py::object& shown,
                 const std::vector<int64_t>& kernels)
      : points_view(points, "points"), amplitude_view(amplitude, "amplitude"), shown_view(shown, "shown") {
    p.count = points_view.extent(0, 3);
    p.trials = points_view.extent(1, 3);
    p.dim = points_view.extent(2, 3);
    check_extent(p.trials, 0, "trials");
    check_extent(p.dim, 1, "coordinates");
    check_kernels(kernels, p.count);
    amplitude_view.require({p.count});
    shown_view.require({p.count, p.trials});
    p.kernels = kernels.data();
    p.points = points_view.data();
    p.amplitude = amplitude_view.data();
    p.shown = shown_view.data();
  }

  TensorView<double> points_view, amplitude_view;
  TensorView<uint8_t> shown_view;
  Processes p{};
};

int64_t condition(const py::object& factor, const py::object& weights, const py::object& evidence,
                  const py::object& points, const py::object& residuals, const py::object& amplitude,
                  const py::object& noise, const py::object& jitter, const py::object& shown,
                  const std::vector<int64_t>& kernels, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  const GivenProcesses given(points, amplitude, shown, kernels);
  const Processes& p = given.p;
  const TensorView<double> factor_view(factor, "factor"), weights_view(weights, "weights"),
      evidence_view(evidence, "evidence"), residuals_view(residuals, "residuals"), noise_view(noise, "noise"),
      jitter_view(jitter, "jitter");
  factor_view.require({p.count, p.trials, p.trials});
  weights_view.require({p.count, p.trials});
  evidence_view.require({p.count});
  residuals_view.require({p.count, p.trials});
  noise_view.require({p.count});
  jitter_view.require({p.count});
  const Conditioned to{factor_view.data(), weights_view.data(), evidence_view.data()};
  std::vector<double> scratch(DIFFHPO_BUILD_OF(chosen, condition_size)(p.trials, p.dim));
  const ReleasedGil released;
  return DIFFHPO_BUILD_OF(chosen, condition)(p, residuals_view.data(), noise_view.data(), jitter_view.data(), to,
                                             scratch.data());
}

void posterior(const py::object& mean, const py::object& variance, const py::object& explained,
               const py::object& points, const py::object& amplitude, const py::object& shown,
               const std::vector<int64_t>& kernels, const py::object& factor, const py::object& weights,
               const py::object& candidates, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  const GivenProcesses given(points, amplitude, shown, kernels);
  const Processes& p = given.p;
  const TensorView<double> mean_view(mean, "mean"), variance_view(variance, "variance"),
      explained_view(explained, "explained"), factor_view(factor, "factor"), weights_view(weights, "weights"),
      candidates_view(candidates, "candidates");
  Candidates c{};
  c.count = candidates_view.extent(1, 3);
  check_extent(c.count, 0, "candidates");
  candidates_view.require({p.count, c.count, p.dim});
  factor_view.require({p.count, p.trials, p.trials});
  weights_view.require({p.count, p.trials});
  mean_view.require({p.count, c.count});
  variance_view.require({p.count, c.count});
  // Of no rows: not asked for.
  c.capacity = explained_view.extent(1, 3);
  explained_view.require({p.count, c.capacity, c.count});
  if (c.capacity != 0 && c.capacity < p.trials) throw py::value_error("explained has fewer rows than there are trials");
  c.points = candidates_view.data();
  c.mean = mean_view.data();
  c.variance = variance_view.data();
  c.explained = c.capacity == 0 ? nullptr : explained_view.data();
  std::vector<double> scratch(DIFFHPO_BUILD_OF(chosen, posterior_size)(p.trials, p.dim));
  const ReleasedGil released;
  DIFFHPO_BUILD_OF(chosen, posterior)(p, factor_view.data(), weights_view.data(), c, scratch.data());
}

struct GivenMixture {
  GivenMixture(const py::object& log_weights, const py::object& means, const py::object& deviations)
      : log_weights_view(log_weights, "log_weights"), means_view(means, "means"),
        deviations_view(deviations, "deviations") {
    m.parts = log_weights_view.extent(0, 2);
    m.count = log_weights_view.extent(1, 2);
    check_extent(m.count, 0, "candidates");
    if (m.parts < 1 || m.parts > kMostProcesses) throw py::value_error("a mixture has 1 to 64 parts");
    means_view.require({m.parts, m.count});
    deviations_view.require({m.parts, m.count});
    m.log_weights = log_weights_view.data();
    m.means = means_view.data();
    m.deviations = deviations_view.data();
  }

  TensorView<double> log_weights_view, means_view, deviations_view;
  Mixture m{};
};

double believe(const py::object& log_weights, const py::object& means, const py::object& deviations,
               const py::object& variance, const py::object& explained, int64_t rows, const py::object& points,
               const std::vector<int64_t>& kernels, const py::object& amplitude, const py::object& noise,
               const py::object& added, int64_t index, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  const GivenMixture mixture(log_weights, means, deviations);
  const int64_t parts = mixture.m.parts, count = mixture.m.count;
  const TensorView<double> variance_view(variance, "variance"), explained_view(explained, "explained"),
      points_view(points, "points"), amplitude_view(amplitude, "amplitude"), noise_view(noise, "noise"),
      added_view(added, "added");
  check_kernels(kernels, parts);
  BeliefState s{};
  s.dim = points_view.extent(1, 3);
  s.capacity = explained_view.extent(1, 3);
  check_extent(s.dim, 1, "coordinates");
  check_extent(s.capacity, 1, "explained's rows");
  points_view.require({parts, s.dim, count});
  explained_view.require({parts, s.capacity, count});
  variance_view.require({parts, count});
  amplitude_view.require({parts});
  noise_view.require({parts});
  added_view.require({parts});
  if (rows < 0 || rows >= s.capacity) throw py::value_error("explained has no row left");
  if (index < 0 || index >= count) throw py::value_error("index is not that of a candidate");
  s.kernels = kernels.data();
  s.points = points_view.data();
  s.amplitude = amplitude_view.data();
  s.noise = noise_view.data();
  s.added = added_view.data();
  s.explained = explained_view.data();
  s.rows = rows;
  s.variance = variance_view.data();
  s.mixture = mixture.m;
  std::vector<double> scratch(count);
  const ReleasedGil released;
  return DIFFHPO_BUILD_OF(chosen, take_for_evaluated)(s, index, scratch.data());
}

void improvements(const py::object& to, const py::object& log_weights, const py::object& means,
                  const py::object& deviations, double best, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  const GivenMixture mixture(log_weights, means, deviations);
  const TensorView<double> to_view(to, "to");
  to_view.require({mixture.m.count});
  const ReleasedGil released;
  DIFFHPO_BUILD_OF(chosen, log_expected_improvement)(mixture.m, best, to_view.data());
}

}  // namespace

void bind_gaussian_process(py::module_& m) {
  m.def("process_condition", &condition, py::arg("factor"), py::arg("weights"), py::arg("evidence"),
        py::arg("points"), py::arg("residuals"), py::arg("amplitude"), py::arg("noise"), py::arg("jitter"),
        py::arg("shown"), py::arg("kernels"), py::arg("isa"));
  m.def("process_posterior", &posterior, py::arg("mean"), py::arg("variance"), py::arg("explained"),
        py::arg("points"), py::arg("amplitude"), py::arg("shown"), py::arg("kernels"), py::arg("factor"),
        py::arg("weights"), py::arg("candidates"), py::arg("isa"));
  m.def("process_believe", &believe, py::arg("log_weights"), py::arg("means"), py::arg("deviations"),
        py::arg("variance"), py::arg("explained"), py::arg("rows"), py::arg("points"), py::arg("kernels"),
        py::arg("amplitude"), py::arg("noise"), py::arg("added"), py::arg("index"), py::arg("isa"));
  m.def("mixture_log_improvement", &improvements, py::arg("to"), py::arg("log_weights"), py::arg("means"),
        py::arg("deviations"), py::arg("best"), py::arg("isa"));
}

}  // namespace diffhpo
