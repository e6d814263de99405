// SPDX-License-Identifier: Apache-2.0
// What Python gives to the reverse loop, checked: shared by the bindings of the CPU and the CUDA loops.
#pragma once

#include <cmath>
#include <string>

#include "bindings/bindings.h"
#include "denoise/denoise.h"

namespace diffhpo {

constexpr int64_t kLargestSize = 1 << 16;  // of d, W, B: far beyond use, and no product of them overflows

inline NetworkLayout checked_layout(int64_t dim, int64_t width, int64_t blocks) {
  for (int64_t size : {dim, width, blocks}) {
    if (size < 1 || size > kLargestSize) {
      throw pybind11::value_error("dim, width and blocks must lie in [1, " + std::to_string(kLargestSize) + "]");
    }
  }
  return {dim, width, blocks};
}

// Views of the arguments that the CPU and CUDA loops share; they keep the memory alive.
struct DenoiseArguments {
  TensorView<float> weights, step_conditioning, job_conditioning, x;
  TensorView<double> coefficients;
  TensorView<int64_t> keys, counts, seeds, first_candidates;

  DenoiseArguments(const pybind11::object& out, const pybind11::object& packed, const pybind11::object& step_conditioning,
                   const pybind11::object& job_conditioning, const pybind11::object& coefficients, const pybind11::object& keys,
                   const pybind11::object& counts, const pybind11::object& seeds, const pybind11::object& first_candidates,
                   int32_t device)
      : weights(packed, "packed", device),
        step_conditioning(step_conditioning, "step_conditioning", device),
        job_conditioning(job_conditioning, "job_conditioning", device),
        x(out, "out", device),
        coefficients(coefficients, "coefficients", device),
        keys(keys, "keys", device),
        counts(counts, "counts"),
        seeds(seeds, "seeds"),
        first_candidates(first_candidates, "first_candidates") {}

  DenoiseProblem problem(double guidance, bool clip) const {
    DenoiseProblem p{};
    p.steps = step_conditioning.extent(0, 3);
    const int64_t blocks = step_conditioning.extent(1, 3), width = step_conditioning.extent(2, 3) / 2;
    p.candidates = x.extent(0, 2);
    p.layout = checked_layout(x.extent(1, 2), width, blocks);
    p.jobs = job_conditioning.extent(0, 4);
    p.branches = job_conditioning.extent(1, 4);
    if (p.branches != 1 && p.branches != 2) throw pybind11::value_error("job_conditioning must have 1 or 2 branches");
    step_conditioning.require({p.steps, blocks, 2 * width});
    job_conditioning.require({p.jobs, p.branches, blocks, 2 * width});
    weights.require({p.layout.size()});
    coefficients.require({p.steps, 5});
    keys.require({p.steps + 1});
    counts.require({p.jobs});
    seeds.require({p.jobs});
    first_candidates.require({p.jobs});
    int64_t rest = p.candidates;
    for (int64_t job = 0; job < p.jobs; ++job) {
      const int64_t count = counts.data()[job], first = first_candidates.data()[job];
      if (count < 0 || count > rest) throw pybind11::value_error("counts must be 0 or more and add up to the rows of out");
      if (first < 0 || first > INT64_MAX - count) throw pybind11::value_error("first_candidates must lie in [0, 2^63)");
      rest -= count;
    }
    if (rest != 0) throw pybind11::value_error("counts must be 0 or more and add up to the rows of out");
    if (!std::isfinite(guidance)) throw pybind11::value_error("guidance must be finite");
    p.weights = weights.data();
    p.step_conditioning = step_conditioning.data();
    p.job_conditioning = job_conditioning.data();
    p.coefficients = coefficients.data();
    p.keys = keys.data();
    p.counts = counts.data();
    p.seeds = seeds.data();
    p.first_candidates = first_candidates.data();
    p.guidance = static_cast<float>(guidance);
    p.clip = clip;
    p.x = x.data();
    return p;
  }
};

}  // namespace diffhpo
