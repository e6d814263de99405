// SPDX-License-Identifier: Apache-2.0
// Python's names of the training kernel.

#include <algorithm>
#include <cmath>
#include <string>

#include "bindings/bindings.h"
#include "training/training_cpu.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

constexpr int64_t kLargestSize = 1 << 12;      // of every size of the shape
constexpr int64_t kLargestTable = 1 << 28;     // parameters
constexpr int64_t kLargestScratch = 1 << 30;   // floats of working memory of one thread
constexpr int64_t kWords = int64_t{1} << 32;

TrainingShape checked_shape(const std::vector<int64_t>& sizes) {
  if (sizes.size() != 7) {
    throw py::value_error("shape must hold dim, width, blocks, context_width, time_features, layers, heads");
  }
  for (int64_t size : sizes) {
    if (size < 1 || size > kLargestSize) {
      throw py::value_error("every size of shape must lie in [1, " + std::to_string(kLargestSize) + "]");
    }
  }
  const TrainingShape shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]};
  if (shape.context_width % shape.heads != 0) throw py::value_error("shape: context_width must be a multiple of heads");
  if (TrainingLayout(shape).size.packed > kLargestTable) throw py::value_error("shape has too many parameters");
  return shape;
}

// Views of what all entries share; they keep the memory alive.
struct DrawArguments {
  TensorView<int64_t> trials, ranks, thresholds, seeds;
  TensorView<float> x;
  TensorView<double> y;

  DrawArguments(const py::object& trials, const py::object& x, const py::object& y, const py::object& ranks,
                const py::object& thresholds, const py::object& seeds)
      : trials(trials, "trials"),
        ranks(ranks, "ranks"),
        thresholds(thresholds, "thresholds"),
        seeds(seeds, "seeds"),
        x(x, "x"),
        y(y, "y") {}

  TrainingProblem problem(const TrainingShape& shape, int64_t batch, int64_t levels, double jitter,
                          int64_t jitter_below, int64_t flag_dropout_below, bool balanced, bool exclude_query) const {
    TrainingProblem p{};
    p.shape = shape;
    p.tasks = trials.extent(0, 1);
    p.batch = batch;
    p.levels = levels;
    const int64_t all = x.extent(0, 2);
    x.require({all, shape.dim});
    y.require({all});
    ranks.require({all});
    thresholds.require({all});
    seeds.require({p.tasks});
    if (batch < 1 || batch > (1 << 20)) throw py::value_error("batch must lie in [1, 2^20]");
    if (levels < 1 || levels > (1 << 30)) throw py::value_error("levels must lie in [1, 2^30]");
    if (!(jitter >= 0.0) || !std::isfinite(jitter)) throw py::value_error("jitter must be finite and not negative");
    for (int64_t below : {jitter_below, flag_dropout_below}) {
      if (below < 0 || below > kWords) throw py::value_error("jitter_below, flag_dropout_below must lie in [0, 2^32]");
    }
    int64_t first = 0, largest = 1;
    for (int64_t task = 0; task < p.tasks; ++task) {
      const int64_t count = trials.data()[task];
      if (count < 1 || count > all - first) {
        throw py::value_error("trials must be positive and add up to the rows of x");
      }
      largest = std::max(largest, count);
      check_history(first, count);
      first += count;
    }
    if (first != all) throw py::value_error("trials must be positive and add up to the rows of x");
    // The scores of attention are the largest part by far; the exact size may only be computed once they are bounded.
    const double scores = 1.0 * batch * (largest + 1) * (largest + 16) * shape.heads * shape.layers;
    if (scores > kLargestScratch ||
        divide_training_scratch(nullptr, TrainingLayout(shape), batch, largest).size > kLargestScratch) {
      throw py::value_error("batch, trials and shape together need more than 4 GiB of working memory");
    }
    p.trials = trials.data();
    p.x = x.data();
    p.y = y.data();
    p.ranks = ranks.data();
    p.thresholds = thresholds.data();
    p.seeds = seeds.data();
    p.jitter = jitter;
    p.jitter_below = jitter_below;
    p.flag_dropout_below = flag_dropout_below;
    p.balanced = balanced;
    p.exclude_query = exclude_query;
    return p;
  }

 private:
  void check_history(int64_t first, int64_t count) const {
    int64_t before = 0;
    for (int64_t i = first; i < first + count; ++i) {
      if (ranks.data()[i] < 0 || ranks.data()[i] >= count) throw py::value_error("ranks must lie in [0, trials)");
      if (thresholds.data()[i] < before || thresholds.data()[i] > kWords) {
        throw py::value_error("thresholds must not decrease within a task, and lie in [0, 2^32]");
      }
      before = thresholds.data()[i];
    }
    if (before != kWords) throw py::value_error("the last of a task's thresholds must be 2^32");
  }
};

void train(const py::object& parameters, const py::object& exp_avg, const py::object& exp_avg_sq,
           const py::object& steps_done, const py::object& losses, const py::object& gradients,
           const std::vector<int64_t>& shape, const py::object& signal, const py::object& noise,
           const py::object& features, const py::object& trials, const py::object& x, const py::object& y,
           const py::object& ranks, const py::object& thresholds, const py::object& seeds, int64_t batch,
           double jitter, int64_t jitter_below, int64_t flag_dropout_below, bool balanced, bool exclude_query,
           double learning_rate, const std::string& isa, int64_t threads) {
  const Isa chosen = runnable_isa(isa);
  const int checked = checked_threads(threads);
  const DrawArguments histories(trials, x, y, ranks, thresholds, seeds);
  const TensorView<float> signals(signal, "signal"), noises(noise, "noise"), times(features, "features");
  const TensorView<float> values(parameters, "parameters"), first(exp_avg, "exp_avg"),
      second(exp_avg_sq, "exp_avg_sq");
  const TensorView<int64_t> counts(steps_done, "steps_done");
  const TensorView<double> out(losses, "losses");
  const int64_t levels = signals.extent(0, 1);
  TrainingProblem p = histories.problem(checked_shape(shape), batch, levels, jitter, jitter_below, flag_dropout_below,
                                        balanced, exclude_query);
  const int64_t size = TrainingLayout(p.shape).size.flat;
  noises.require({levels});
  times.require({levels, p.shape.time_features});
  values.require({p.tasks, size});
  first.require({p.tasks, size});
  second.require({p.tasks, size});
  counts.require({p.tasks});
  p.steps = out.extent(1, 2);
  out.require({p.tasks, p.steps});
  if (!(learning_rate > 0.0) || !std::isfinite(learning_rate)) {
    throw py::value_error("learning_rate must be finite and positive");
  }
  for (int64_t task = 0; task < p.tasks; ++task) {
    if (counts.data()[task] < 0 || counts.data()[task] > kWords - p.steps) {
      throw py::value_error("steps_done must lie in [0, 2^32 - steps]");
    }
  }
  p.signal = signals.data();
  p.noise = noises.data();
  p.features = times.data();
  p.learning_rate = learning_rate;
  p.parameters = values.data();
  p.exp_avg = first.data();
  p.exp_avg_sq = second.data();
  p.steps_done = counts.data();
  p.losses = out.data();
  if (gradients.is_none()) {
    const ReleasedGil released;
    train_cpu(p, chosen, checked, kPythonSignals);
  } else {
    const TensorView<float> of(gradients, "gradients");
    of.require({p.tasks, size});
    if (p.steps != 1) throw py::value_error("gradients are those of one step: losses must have one column");
    p.gradients = of.data();
    const ReleasedGil released;
    train_cpu(p, chosen, checked, kPythonSignals);
  }
  raise_signal();
}

void draw_triples(const py::object& query, const py::object& drawn_x, const py::object& improve,
                  const py::object& mask, const py::object& t, const py::object& eps, const py::object& trials,
                  const py::object& x, const py::object& y, const py::object& ranks, const py::object& thresholds,
                  const py::object& seeds, int64_t step, int64_t levels, double jitter, int64_t jitter_below,
                  int64_t flag_dropout_below, bool balanced, bool exclude_query, const std::string& isa) {
  const Isa chosen = runnable_isa(isa);
  const DrawArguments histories(trials, x, y, ranks, thresholds, seeds);
  const TensorView<int64_t> queries(query, "query"), flags(improve, "improve"), members(mask, "mask"), times(t, "t");
  const TensorView<float> queried(drawn_x, "drawn_x"), noise(eps, "eps");
  const int64_t batch = queries.extent(0, 1), dim = queried.extent(1, 2);
  const TrainingProblem p = histories.problem(checked_shape({dim, 1, 1, 1, 1, 1, 1}), batch, levels, jitter,
                                              jitter_below, flag_dropout_below, balanced, exclude_query);
  if (p.tasks != 1) throw py::value_error("trials must be of one task");
  if (step < 0 || step >= kWords) throw py::value_error("step must lie in [0, 2^32)");
  queried.require({batch, dim});
  flags.require({batch});
  members.require({batch, p.trials[0]});
  times.require({batch});
  noise.require({batch, dim});
  draw_cpu(p, step, chosen,
           {queries.data(), queried.data(), flags.data(), members.data(), times.data(), noise.data()});
}

}  // namespace

void bind_training(py::module_& m) {
  m.def("train", &train, py::arg("parameters"), py::arg("exp_avg"), py::arg("exp_avg_sq"), py::arg("steps_done"),
        py::arg("losses"), py::arg("gradients").none(true), py::arg("shape"), py::arg("signal"), py::arg("noise"),
        py::arg("features"), py::arg("trials"), py::arg("x"), py::arg("y"), py::arg("ranks"), py::arg("thresholds"),
        py::arg("seeds"), py::arg("batch"), py::arg("jitter"), py::arg("jitter_below"), py::arg("flag_dropout_below"),
        py::arg("balanced"), py::arg("exclude_query"), py::arg("learning_rate"), py::arg("isa"), py::arg("threads"));
  m.def("draw_triples", &draw_triples, py::arg("query"), py::arg("drawn_x"), py::arg("improve"), py::arg("mask"),
        py::arg("t"), py::arg("eps"), py::arg("trials"), py::arg("x"), py::arg("y"), py::arg("ranks"),
        py::arg("thresholds"), py::arg("seeds"), py::arg("step"), py::arg("levels"), py::arg("jitter"),
        py::arg("jitter_below"), py::arg("flag_dropout_below"), py::arg("balanced"), py::arg("exclude_query"),
        py::arg("isa"));
}

}  // namespace diffhpo
