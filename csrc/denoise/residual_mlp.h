// SPDX-License-Identifier: Apache-2.0
// eps = network(x) of a tile in float32. One of residual_mlp*.h is compiled into a build of the reverse loop.
#pragma once

#include "denoise/conditioning.h"
#include "cpu/dense_layer.h"
#include "denoise/cross_attention.h"
#include "denoise/denoise_cpu.h"

namespace diffhpo {
namespace {

// One branch of eps = network(x).
void predict(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t step, int64_t branch) {
  const NetworkLayout& layout = p.layout;
  const int width = static_cast<int>(layout.width), dim = static_cast<int>(layout.dim), rows = tile.rows;
  const int64_t narrow = padded(width), wide = padded(2 * width), x_stride = padded(dim);
  const float* w = p.weights;
  apply({w + layout.input_weight(), w + layout.input_bias(), dim, width, Activation::none}, rows, s.x, x_stride,
        s.hidden, narrow);
  for (int64_t b = 0; b < layout.blocks; ++b) {
    if (p.key_values != nullptr) add_cross_attention(p, s, tile, b);
    add_conditioning(p, s, tile, step, branch, b);
    apply({w + layout.expand_weight(b), s.conditioning, width, 2 * width, Activation::silu}, rows, s.hidden, narrow,
          s.expanded, wide);
    apply({w + layout.contract_weight(b), w + layout.contract_bias(b), 2 * width, width, Activation::residual}, rows,
          s.expanded, wide, s.hidden, narrow);
  }
  apply({w + layout.output_weight(), w + layout.output_bias(), width, dim, Activation::none}, rows, s.hidden, narrow,
        s.eps + branch * s.rows * x_stride, x_stride);
}

}  // namespace
}  // namespace diffhpo
