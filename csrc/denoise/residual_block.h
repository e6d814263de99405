// SPDX-License-Identifier: Apache-2.0
// A residual block of a tile in float32. One of residual_block*.h is compiled into a build of the reverse loop.
#pragma once

#include "denoise/conditioning.h"
#include "cpu/dense_layer.h"
#include "denoise/cross_attention.h"
#include "denoise/denoise_cpu.h"

namespace diffhpo {
namespace {

// h += contract silu(expand h + conditioning) + bias, after the cross-attention where the network has it.
void apply_block(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t step, int64_t branch, int64_t b) {
  const NetworkLayout& layout = p.layout;
  const int width = static_cast<int>(layout.width);
  const int64_t narrow = padded(width), wide = padded(2 * width);
  const float* w = p.weights;
  if (p.key_values != nullptr) add_cross_attention(p, s, tile, b);
  add_conditioning(p, s, tile, step, branch, b);
  apply({w + layout.expand_weight(b), s.conditioning, width, 2 * width, Activation::silu}, tile.rows, s.hidden, narrow,
        s.expanded, wide);
  apply({w + layout.contract_weight(b), w + layout.contract_bias(b), 2 * width, width, Activation::residual}, tile.rows,
        s.expanded, wide, s.hidden, narrow);
}

}  // namespace
}  // namespace diffhpo
