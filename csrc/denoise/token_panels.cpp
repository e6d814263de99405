// SPDX-License-Identifier: Apache-2.0
#include "denoise/token_panels.h"

namespace diffhpo {
namespace {

constexpr int64_t kAlignment = 16;  // floats, a cache line; sizes of keys and values are multiples

// Rows [count, features] -> outputs [padded(count)] in panels.
void place_keys(const float* rows, int64_t row_stride, int64_t count, int64_t features, float* keys) {
  for (int64_t token = 0; token < padded(count); ++token) {
    float* to = keys + token / kPanel * kPanel * features + token % kPanel;
    for (int64_t k = 0; k < features; ++k) to[k * kPanel] = token < count ? rows[token * row_stride + k] : 0.0f;
  }
}

// Rows [count, features] -> inputs of panels of features, chunk by chunk.
void place_values(const float* rows, int64_t row_stride, int64_t count, int64_t features, float* values) {
  for (int64_t chunk = 0; chunk < chunks(count); ++chunk) {
    const int64_t begin = chunk * kChunk, end = chunk_end(count, chunk);
    for (int64_t first = 0; first < features; first += kPanel) {
      for (int64_t token = begin; token < end; ++token, values += kPanel) {
        const float* from = rows + token * row_stride + first;
        for (int64_t k = 0; k < kPanel; ++k) values[k] = first + k < features ? from[k] : 0.0f;
      }
    }
  }
}

}  // namespace

TokenPanels::TokenPanels(const DenoiseProblem& p) {
  if (p.tokens == nullptr) return;
  const int64_t width = p.layout.width, blocks = p.layout.blocks, stride = blocks * 2 * width;
  const BlockLayout layout = cross_attention_layout(width);
  int64_t size = kAlignment;
  for (int64_t job = 0; job < p.jobs; ++job) {
    size += blocks * (keys_size(layout, p.token_counts[job]) + values_size(layout, p.token_counts[job]));
  }
  memory_.reset(new float[size]);
  const auto address = reinterpret_cast<uintptr_t>(memory_.get());
  float* at = memory_.get() + (kAlignment - address / sizeof(float) % kAlignment) % kAlignment;
  places_.reserve(p.jobs * blocks);
  const float* from = p.tokens;
  for (int64_t job = 0; job < p.jobs; ++job) {
    const int64_t count = p.token_counts[job];
    for (int64_t block = 0; block < blocks; ++block) {
      const KeyValues to{at, at + keys_size(layout, count), nullptr};
      at = to.values + values_size(layout, count);
      if (count > 0) {
        const float* rows = from + block * 2 * width;
        place_keys(rows, stride, count, width, to.keys);
        place_values(rows + width, stride, count, width, to.values);
      }
      places_.push_back(to);
    }
    from += count * stride;
  }
}

}  // namespace diffhpo
