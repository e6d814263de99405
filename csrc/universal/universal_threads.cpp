// SPDX-License-Identifier: Apache-2.0
// Takes what exists out of contexts, picks the kernels' build and spreads the contexts over threads.

#include <algorithm>
#include <cstring>
#include <vector>

#include "attention/attention_cpu.h"
#include "cpu/isa.h"
#include "universal/universal_cpu.h"
#include "universal/value_scale.h"

namespace diffhpo {
namespace {

class Divider {
 public:
  explicit Divider(float* base) : base_(base) {}
  float* take(int64_t count) {
    float* part = base_ == nullptr ? nullptr : base_ + at_;
    at_ += whole_vectors(count);
    return part;
  }
  int64_t size() const { return at_; }

 private:
  float* base_;
  int64_t at_ = 0;
};

void copy(const float* from, int64_t count, float* to) {
  if (count > 0) std::memcpy(to, from, sizeof(float) * count);
}

}  // namespace

EmbedScratch divide_embed_scratch(float* base, const UniversalEncoderLayout& layout, int64_t trials, int64_t dims) {
  const int64_t width = layout.width, narrow = padded(width), cell = layout.cell(), heads = layout.heads;
  EmbedScratch s{};
  s.grid_stride = whole_vectors(kBasis * dims + kValueFeatures);
  s.code_stride = whole_vectors(std::max(2 * width, layout.views() + width));
  s.share_stride = whole_vectors(trials);
  Divider cut(base);
  s.x = cut.take(trials * dims);
  s.values = cut.take(trials * kValueFeatures);
  s.z = cut.take(trials);
  s.grid = cut.take(trials * s.grid_stride);
  s.cell_rows = cut.take(trials * 16);
  s.hidden = cut.take(trials * padded(cell));
  s.cells = cut.take(trials * std::max(padded(cell + heads), padded(2 * heads)));
  s.shares = cut.take((2 * heads + 1) * s.share_stride);
  s.attended = cut.take((heads + 1) * padded(cell));
  s.code_rows = cut.take(dims * s.code_stride);
  s.codes = cut.take(dims * narrow);
  s.wide = cut.take(std::max<int64_t>(dims, 1) * padded(2 * width));
  s.mean = cut.take(narrow);
  s.initial = cut.take(padded(2 * width));
  s.matrix_rows = cut.take(dims * matrix_outputs(width));
  s.matrix = cut.take((kBasis * dims + kValueFeatures) * narrow);
  s.rows = cut.take((trials + 1) * narrow);
  s.tokens = cut.take((trials + 1) * width);
  s.views = cut.take((2 * heads + 1) * s.grid_stride);
  s.joined = cut.take(3 * width);
  s.pooled = cut.take(narrow);
  s.size = cut.size();
  return s;
}

PointsScratch divide_points_scratch(float* base, const UniversalPredictorLayout& layout, int64_t dims) {
  const int64_t narrow = padded(layout.width);
  PointsScratch s{};
  Divider cut(base);
  s.codes = cut.take(dims * narrow);
  s.matrix_rows = cut.take(dims * matrix_outputs(layout.width));
  s.matrix = cut.take(kBasis * dims * narrow);
  s.shift = cut.take(narrow);
  s.column = cut.take(kPointRows);
  s.warped = cut.take(kPointRows);
  s.grid = cut.take(kPointRows * whole_vectors(kBasis * dims));
  s.rows = cut.take(kPointRows * narrow);
  s.normed = cut.take(kPointRows * narrow);
  s.hidden = cut.take(kPointRows * narrow);
  s.learned = cut.take(kPointRows * kPanel);
  s.zeros = cut.take(narrow);
  s.size = cut.size();
  return s;
}

namespace {

// A context without what is masked, in scratch; its scale and z go to the problem's outputs.
PresentContext present_context(const EmbedProblem& p, int64_t context, const EmbedScratch& s,
                               std::vector<int64_t>& trials, std::vector<int64_t>& dims, std::vector<int32_t>& tags) {
  for (int64_t i = 0; i < p.trials; ++i) {
    if (p.mask[context * p.trials + i] != 0) trials.push_back(i);
  }
  for (int64_t j = 0; j < p.dims; ++j) {
    if (p.kinds[context * p.dims + j] != kPadding) dims.push_back(j);
  }
  const int64_t m = static_cast<int64_t>(trials.size()), d = static_cast<int64_t>(dims.size());
  std::vector<double> y(m);
  for (int64_t i = 0; i < m; ++i) {
    y[i] = p.y[context * p.trials + trials[i]];
    for (int64_t j = 0; j < d; ++j) s.x[i * d + j] = p.x[(context * p.trials + trials[i]) * p.dims + dims[j]];
  }
  const ValueScale scale = fit_value_scale(y);
  const double parts[] = {scale.median, scale.span, scale.location, scale.scale};
  for (int64_t part = 0; part < 4; ++part) p.scale[part * p.contexts + context] = parts[part];
  std::fill_n(p.z + context * p.trials, p.trials, 0.0f);
  for (int64_t i = 0; i < m; ++i) {
    s.z[i] = standardised(scale, y[i]);
    p.z[context * p.trials + trials[i]] = s.z[i];
  }
  describe_values(s.z, m, s.values);
  int32_t names[kMostDims];
  if (p.names == nullptr) name_dimensions(s.x, s.z, m, d, names);
  tags.resize(3 * d);
  for (int64_t j = 0; j < d; ++j) {
    const int64_t at = context * p.dims + dims[j];
    const int64_t name = p.names == nullptr ? names[j] : p.names[at];
    tags[3 * j] = static_cast<int32_t>(p.kinds[at]);
    tags[3 * j + 1] = static_cast<int32_t>(kKinds + p.roles[at]);
    tags[3 * j + 2] = static_cast<int32_t>(kKinds + kRoles + name);
  }
  return {m, d, s.x, s.values, tags.data()};
}

void embed_context(const EmbedProblem& p, int64_t context, Isa isa, float* scratch, StopSignal stop) {
  const UniversalEncoderLayout& layout = p.layout;
  const EmbedScratch s = divide_embed_scratch(scratch, layout, p.trials, p.dims);
  std::vector<int64_t> trials, dims;
  std::vector<int32_t> tags;
  const PresentContext present = present_context(p, context, s, trials, dims, tags);
  DIFFHPO_BUILD_OF(isa, embed_trials)(layout, p.weights, present, s);
  EncodeProblem encoder{};
  encoder.layout = layout.encoder();
  encoder.jobs = 1;
  encoder.counts = &present.trials;
  encoder.weights = p.weights + fields_of(layout).encoder;
  encoder.tokens = s.tokens;
  encoder.embedded = true;
  if (encode_cpu(encoder, isa, 1, stop)) return;
  DIFFHPO_BUILD_OF(isa, finish_codes)(layout, p.weights, present, s);

  const int64_t width = layout.width;
  float* codes = p.codes + context * p.dims * width;
  std::fill_n(codes, p.dims * width, 0.0f);
  for (int64_t j = 0; j < present.dims; ++j) copy(s.codes + j * padded(width), width, codes + dims[j] * width);
  float* tokens = p.tokens + context * (1 + p.trials) * width;
  std::fill_n(tokens, (1 + p.trials) * width, 0.0f);
  copy(s.tokens, width, tokens);
  for (int64_t i = 0; i < present.trials; ++i) {
    copy(s.tokens + (i + 1) * width, width, tokens + (1 + trials[i]) * width);
  }
  copy(s.pooled, width, p.pooled + context * width);
}

void correct_context(const CorrectProblem& p, int64_t context, Isa isa, float* scratch, StopSignal stop) {
  const int64_t width = p.layout.width, corrections = 3 * kProcesses;
  Divider cut(scratch);
  float* seen = cut.take(p.points * kSeenStride);
  float* embedded = cut.take(p.points * padded(width));
  float* logits = cut.take(p.points * corrections);
  float* tokens = cut.take((1 + p.trials) * width);
  int64_t count = 1;
  const float* from = p.tokens + context * (1 + p.trials) * width;
  copy(from, width, tokens);
  for (int64_t i = 0; i < p.trials; ++i) {
    if (p.mask[context * p.trials + i] != 0) copy(from + (1 + i) * width, width, tokens + count++ * width);
  }
  DIFFHPO_BUILD_OF(isa, see_posterior)(p, context, seen, embedded);
  PredictProblem attending{};
  attending.layout = p.layout.attending();
  attending.jobs = 1;
  attending.token_counts = &count;
  attending.counts = &p.points;
  attending.weights = p.weights + fields_of(p.layout).attending;
  attending.tokens = tokens;
  attending.embedded = embedded;
  attending.logits = logits;
  if (predict_cpu(attending, isa, 1, stop)) return;
  DIFFHPO_BUILD_OF(isa, correct_mixture)(p, context, logits);
}

}  // namespace

void embed_cpu(const EmbedProblem& p, Isa isa, int threads, StopSignal interrupted) {
  const int64_t size = divide_embed_scratch(nullptr, p.layout, p.trials, p.dims).size;
  // A thread's contexts share one division of its scratch, so that padding stays finite.
  run_on_threads(p.contexts, threads, size, interrupted, [&](int64_t context, float* scratch, StopSignal stop) {
    embed_context(p, context, isa, scratch, stop);
  });
}

void kernel_space_cpu(const KernelSpaceProblem& p, Isa isa) {
  std::vector<float> scratch(kernel_space_scratch(p.dims));
  for (int64_t context = 0; context < p.contexts; ++context) {
    DIFFHPO_BUILD_OF(isa, kernel_space)(p, context, scratch.data());
  }
}

void points_cpu(const PointsProblem& p, Isa isa, int threads, StopSignal interrupted) {
  const int64_t size = divide_points_scratch(nullptr, p.layout, p.dims).size;
  run_on_threads(p.contexts, threads, size, interrupted, [&](int64_t context, float* scratch, StopSignal stop) {
    const PointsScratch s = divide_points_scratch(scratch, p.layout, p.dims);
    DIFFHPO_BUILD_OF(isa, prepare_points)(p, context, s);
    for (int64_t first = 0; first < p.points && !stop.stopped(stop.state); first += kPointRows) {
      DIFFHPO_BUILD_OF(isa, place_points)(p, context, first, std::min(kPointRows, p.points - first), s);
    }
  });
}

void correct_cpu(const CorrectProblem& p, Isa isa, int threads, StopSignal interrupted) {
  if (p.points == 0 || p.contexts == 0) return;
  const int64_t size = whole_vectors(p.points * kSeenStride) + whole_vectors(p.points * padded(p.layout.width)) +
                       whole_vectors(p.points * 3 * kProcesses) + whole_vectors((1 + p.trials) * p.layout.width);
  run_on_threads(p.contexts, threads, size, interrupted, [&](int64_t context, float* scratch, StopSignal stop) {
    correct_context(p, context, isa, scratch, stop);
  });
}

}  // namespace diffhpo
