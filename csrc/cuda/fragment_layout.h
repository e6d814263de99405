// SPDX-License-Identifier: Apache-2.0
// The weights of a residual MLP as the tensor cores take them: bf16, in the order of the B fragments of
// mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"). Host and device read this one table.
//
// A matrix (outputs, inputs) is cut into tiles of 16 outputs and 16 inputs, 512 bytes each: lane l of a warp reads
// the 16 bytes at 16 l, words (b0, b1) of outputs 0 to 7 and (b0, b1) of outputs 8 to 15. Word `half` of a lane
// holds inputs 8 half + 2 (l mod 4) and the next one of output l / 4.
//
// A residual block is W / 8 panels. Panel j is what 16 expanded features need: their W / 16 tiles of the expansion,
// then the W / 16 tiles of the contraction that read them. So expanded features never meet as a whole, and a
// network that does not fit is streamed panel by panel.
#pragma once

#include <cstdint>

#include "host_device.h"
#include "denoise/network_layout.h"

namespace diffhpo {

constexpr int kTileVectors = 32;      // 16-byte vectors of a tile, one a lane
constexpr int kLargestFragmentDim = 64;

// d rounded up to a number of input features that a kernel is built for, or 0 beyond the largest.
DIFFHPO_INLINE constexpr int fragment_dim(int64_t dim) {
  return dim <= 16 ? 16 : dim <= 32 ? 32 : dim <= kLargestFragmentDim ? kLargestFragmentDim : 0;
}

DIFFHPO_INLINE constexpr bool has_fragments(int64_t dim, int64_t width) {
  return fragment_dim(dim) != 0 && (width == 32 || width == 64 || width == 96 || width == 128);
}

struct FragmentLayout {
  int dim;         // padded: fragment_dim(d)
  int width;       // W
  int64_t blocks;  // B

  // Of a network that has_fragments.
  static FragmentLayout of(const NetworkLayout& network) {
    return {fragment_dim(network.dim), static_cast<int>(network.width), network.blocks};
  }

  // field                                                                offset in vectors of 16 bytes
  DIFFHPO_INLINE constexpr int64_t input() const { return 0; }                     // [W / 16][d / 16] tiles
  DIFFHPO_INLINE constexpr int64_t output() const { return matrix_vectors(); }     // [d / 16][W / 16] tiles
  DIFFHPO_INLINE constexpr int64_t input_bias() const { return 2 * matrix_vectors(); }              // [W] float
  DIFFHPO_INLINE constexpr int64_t contract_bias() const { return input_bias() + width / 4; }       // [B, W] float
  DIFFHPO_INLINE constexpr int64_t output_bias() const { return contract_bias() + blocks * width / 4; }  // [d] float
  DIFFHPO_INLINE constexpr int64_t panels() const { return output_bias() + dim / 4; }               // [B][W / 8]
  DIFFHPO_INLINE constexpr int64_t size() const { return panels() + blocks * block_panels() * panel_vectors(); }
  DIFFHPO_INLINE constexpr int64_t bytes() const { return 16 * size(); }

  DIFFHPO_INLINE constexpr int64_t block_panels() const { return width / 8; }
  DIFFHPO_INLINE constexpr int64_t panel_vectors() const { return width / 8 * kTileVectors; }
  DIFFHPO_INLINE constexpr int64_t matrix_vectors() const { return dim / 16 * (width / 16) * kTileVectors; }
};

// Where a word of a tile comes from: output, and the first of two neighbouring inputs, both within the tile.
DIFFHPO_INLINE constexpr int tile_output(int word) { return 8 * (word / 2 % 2) + word / 16; }
DIFFHPO_INLINE constexpr int tile_input(int word) { return 8 * (word % 2) + 2 * (word / 4 % 4); }

}  // namespace diffhpo
