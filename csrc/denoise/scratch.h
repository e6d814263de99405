// SPDX-License-Identifier: Apache-2.0
// The working memory of one thread of the CPU reverse loop.
#pragma once

#include <cstdint>

#include "attention/attention_cpu.h"
#include "denoise/network_layout.h"

namespace diffhpo {

constexpr int kTileRows = 96;  // candidates of a tile at most: what keeps 128 wide layers in a 1 MB cache
constexpr int kTileUnit = 12;  // a multiple of the rows of every ISA's register tile

DIFFHPO_INLINE int64_t noise_groups(int64_t dim) { return (dim + 3) / 4; }

// Rows are padded to whole vectors of any ISA. The floats have to be zero before the first use: padding is
// computed with, though never read as a result, and must be finite. Therefore one thread's tiles share one division.
struct Scratch {
  int64_t rows;         // of the largest tile
  float* x;             // [rows, padded(d)]
  float* eps;           // [2, rows, padded(d)]
  float* hidden;        // [rows, padded(W)]
  float* expanded;      // [rows, padded(2W)]
  uint8_t* codes;       // [rows, 2 padded(2W)] activations in fewer bits (precision.h)
  float* row_scale;     // [rows]
  float* conditioning;  // [padded(2W)]
  float* noise;         // [rows, 4 groups] and two vectors more, which may be read
  uint32_t* group;      // [rows, groups] and a vector more, as the next two: counters of the noise
  uint32_t* low;
  uint32_t* high;
  AttentionScratch attention;  // attended, scores, sums, mask and zeros alone, where there is attention
  int64_t size;  // in floats, a multiple of 16
};

// For tiles of up to `rows` rows. `base`, aligned to 64 bytes, may be null: then only the size is of use.
DIFFHPO_INLINE Scratch divide_scratch(float* base, const NetworkLayout& layout, int64_t rows, bool attention) {
  const int64_t counters = rows * noise_groups(layout.dim) + 16;
  const int64_t sizes[] = {rows * padded(layout.dim),
                           2 * rows * padded(layout.dim),
                           rows * padded(layout.width),
                           rows * padded(2 * layout.width),
                           rows * padded(2 * layout.width) / 2,
                           rows,
                           padded(2 * layout.width),
                           4 * counters + kPanel,
                           counters,
                           counters,
                           counters,
                           attention ? rows * padded(layout.width) : 0,
                           attention ? rows * kLongestChunk : 0,
                           attention ? rows * 16 : 0,
                           attention ? kLongestChunk : 0,
                           attention ? padded(layout.width) : 0};
  float* parts[16] = {};
  int64_t at = 0;
  for (int i = 0; i < 16; ++i) {
    if (base != nullptr) parts[i] = base + at;
    at += (sizes[i] + 15) / 16 * 16;
  }
  AttentionScratch of_attention{};
  of_attention.attended = parts[11];
  of_attention.scores = parts[12];
  of_attention.sums = parts[13];
  of_attention.mask = parts[14];
  of_attention.zeros = parts[15];
  return {rows,
          parts[0],
          parts[1],
          parts[2],
          parts[3],
          reinterpret_cast<uint8_t*>(parts[4]),
          parts[5],
          parts[6],
          parts[7],
          reinterpret_cast<uint32_t*>(parts[8]),
          reinterpret_cast<uint32_t*>(parts[9]),
          reinterpret_cast<uint32_t*>(parts[10]),
          of_attention,
          at};
}

}  // namespace diffhpo
