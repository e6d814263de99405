// SPDX-License-Identifier: Apache-2.0
// Rows of keys and values -> the panels that attend.h reads (KeyValues in attention_cpu.h).
#pragma once

#include "attention/attention_cpu.h"
#include "cpu/simd.h"

namespace diffhpo {
namespace {

// Key rows [features] -> panels of tokens, those from `first` on.
void place_keys(const float* rows, int64_t row_stride, int64_t first, int count, int64_t features, float* keys) {
  for (int64_t token = first; token < first + count;) {
    const float* from = rows + (token - first) * row_stride;
    float* to = keys + token / kPanel * kPanel * features + token % kPanel;
    int64_t k = 0;
    if (token % 4 == 0 && token + 4 <= first + count) {
      for (; k + kLanes <= features; k += kLanes) {
        Vec v[4];
        for (int i = 0; i < 4; ++i) v[i] = load(from + i * row_stride + k);
        interleave(v);
        for (int i = 0; i < 4; ++i) {
          for (int quarter = 0; quarter < kLanes / 4; ++quarter) {
            __builtin_memcpy(to + (k + 4 * quarter + i) * kPanel, reinterpret_cast<const float*>(&v[i]) + 4 * quarter,
                             4 * sizeof(float));
          }
        }
      }
      for (; k < features; ++k) {
        for (int i = 0; i < 4; ++i) to[k * kPanel + i] = from[i * row_stride + k];
      }
      token += 4;
      continue;
    }
    for (; k < features; ++k) to[k * kPanel] = from[k];
    ++token;
  }
}

// Zeros after the last of `count` tokens, up to the end of the panel.
void fill_keys(int64_t count, int64_t features, float* keys) {
  for (int64_t token = count; token < padded(count); ++token) {
    float* to = keys + token / kPanel * kPanel * features + token % kPanel;
    for (int64_t k = 0; k < features; ++k) to[k * kPanel] = 0.0f;
  }
}

// Value rows [features] -> panels of features that hold `all` tokens, those from `first` on; the last panel is filled
// up with zeros.
void place_values(const float* rows, int64_t row_stride, int64_t first, int count, int64_t all, int64_t features,
                  float* values) {
  for (int64_t i = 0; i < count; ++i) {
    const float* from = rows + i * row_stride;
    for (int64_t panel = 0; panel < panels(features); ++panel) {
      float* to = values + (panel * all + first + i) * kPanel;
      const int64_t filled = features - panel * kPanel < kPanel ? features - panel * kPanel : kPanel;
      if (filled == kPanel) {
        __builtin_memcpy(to, from + panel * kPanel, kPanel * sizeof(float));
        continue;
      }
      for (int64_t k = 0; k < kPanel; ++k) to[k] = k < filled ? from[panel * kPanel + k] : 0.0f;
    }
  }
}

// The same, chunk by chunk, for the tile of a context of `count` tokens.
void place_chunks(const float* rows, int64_t row_stride, const RowTile& tile, int64_t count, int64_t features,
                  float* values) {
  for (int64_t token = tile.first; token < tile.first + tile.rows;) {
    const int64_t chunk = chunk_of(count, token), begin = chunk * kChunk, end = chunk_end(count, chunk);
    const int64_t until = end < tile.first + tile.rows ? end : tile.first + tile.rows;
    place_values(rows + (token - tile.first) * row_stride, row_stride, token - begin, static_cast<int>(until - token),
                 end - begin, features, values + begin * panels(features) * kPanel);
    token = until;
  }
}

// [rows, 2 H W + H] of folded keys, values and offsets -> `to`.
void place_folded(const BlockLayout& block, const float* rows, int64_t row_stride, const RowTile& tile, int64_t count,
                  const KeyValues& to) {
  const int64_t width = block.width, all = block.heads * count;
  for (int64_t head = 0; head < block.heads; ++head) {
    const int64_t first = head * count + tile.first;
    place_keys(rows + head * width, row_stride, first, tile.rows, width, to.keys);
    place_values(rows + (block.heads + head) * width, row_stride, first, tile.rows, all, width, to.values);
    for (int64_t i = 0; i < tile.rows; ++i) {
      to.offsets[first + i] = rows[i * row_stride + 2 * block.heads * width + head];
    }
  }
  if (tile.first + tile.rows < count) return;
  fill_keys(all, width, to.keys);
  for (int64_t token = all; token < padded(all); ++token) to.offsets[token] = 0.0f;
}

}  // namespace
}  // namespace diffhpo
