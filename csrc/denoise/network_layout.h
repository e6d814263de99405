// SPDX-License-Identifier: Apache-2.0
// The packed weights of a residual MLP: field, shape, offset. Host and device read this one table.
// Matrices are in panels (panels.h).
#pragma once

#include <cstdint>

#include "panels.h"

namespace diffhpo {

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
