// SPDX-License-Identifier: Apache-2.0
// The packed weights of a residual MLP: field, shape, offset. Host and device read this one table.
//
// A matrix (outputs, inputs) is cut into panels of 32 outputs and stored [panel][input][32], a bias [panel][32];
// outputs beyond the last are zero. So 32 lanes of a GPU warp, or 1 to 8 SIMD vectors, read neighbouring
// outputs of one input, and a panel is one contiguous stream.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace diffhpo {

constexpr int kPanel = 32;

DIFFHPO_INLINE constexpr int64_t panels(int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }
DIFFHPO_INLINE constexpr int64_t padded(int64_t outputs) { return panels(outputs) * kPanel; }

struct NetworkLayout {
  int64_t dim;     // d
  int64_t width;   // W
  int64_t blocks;  // B

  // field                 shape [panel][input][32]          offset in floats
  DIFFHPO_INLINE int64_t input_weight() const { return 0; }                              // (W, d)
  DIFFHPO_INLINE int64_t input_bias() const { return padded(width) * dim; }              // (W,)
  DIFFHPO_INLINE int64_t block(int64_t b) const {
    return padded(width) * (dim + 1) + b * (padded(2 * width) * width + padded(width) * (2 * width + 1));
  }
  DIFFHPO_INLINE int64_t expand_weight(int64_t b) const { return block(b); }             // (2W, W)
  DIFFHPO_INLINE int64_t contract_weight(int64_t b) const {                              // (W, 2W)
    return block(b) + padded(2 * width) * width;
  }
  DIFFHPO_INLINE int64_t contract_bias(int64_t b) const {                                // (W,)
    return contract_weight(b) + padded(width) * 2 * width;
  }
  DIFFHPO_INLINE int64_t output_weight() const { return block(blocks); }                 // (d, W)
  DIFFHPO_INLINE int64_t output_bias() const { return output_weight() + padded(dim) * width; }  // (d,)
  DIFFHPO_INLINE int64_t size() const { return output_bias() + padded(dim); }
};

}  // namespace diffhpo
