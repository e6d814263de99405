// SPDX-License-Identifier: Apache-2.0
// Attention of the candidates to their job's context tokens, before a block.
#pragma once

#include "attention/attend.h"
#include "cpu/simd.h"
#include "denoise/denoise_cpu.h"
#include "denoise/token_panels.h"

namespace diffhpo {
namespace {

// s.hidden += attention; a job without tokens is left as it is.
void add_cross_attention(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t block) {
  const int64_t count = p.token_counts[tile.job], narrow = padded(p.layout.width);
  if (count == 0) return;
  AttentionScratch scratch = s.attention;
  scratch.query = s.hidden;
  attend(cross_attention_layout(p.layout.width), p.key_values[tile.job * p.layout.blocks + block], count, tile.rows,
         scratch);
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t j = row * narrow; j < row * narrow + p.layout.width; j += kLanes) {
      store(s.hidden + j, load(s.hidden + j) + load(scratch.attended + j));
    }
  }
}

}  // namespace
}  // namespace diffhpo
