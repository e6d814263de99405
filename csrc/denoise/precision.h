// SPDX-License-Identifier: Apache-2.0
// The weights of the residual blocks in fewer bits: field, shape, offset. Input and output layer, bias, conditioning
// and the residual stream stay float32.
//
// bf16: weights and the activations that meet them are rounded to bfloat16, to nearest even; sums are float32.
// int8: w = scale_j q, q in [-127, 127], one scale per output. Activations are coded per candidate and step as
//   unsigned bytes with the range that they have then: v = s (q - 128) for a block's input, s = max|v| / 127, and
//   v = s q - c for a hidden layer after SiLU, s = (max v + c) / 255, where -c is SiLU's minimum. Sums are exact.
#pragma once

#include <cstdint>

#include "denoise/network_layout.h"

namespace diffhpo {

enum class Precision { fp32, bf16, int8 };

constexpr float kSiluMinimum = 0.27846455f;  // c

// A matrix (outputs, inputs) is stored [panel][group][32][inputs of a group]: 4 bytes, so 2 or 4 neighbouring inputs,
// of every output side by side. Inputs, too, are padded to whole panels, with zeros.
struct CodedLayout {
  NetworkLayout network;
  Precision precision;

  int64_t bytes() const { return precision == Precision::bf16 ? 2 : 1; }
  int64_t matrix() const { return padded(2 * network.width) * padded(network.width) * bytes(); }

  // field                                                        type, shape                 offset in bytes
  int64_t block(int64_t b) const { return b * (2 * matrix() + (precision == Precision::int8 ? tables() : 0)); }
  int64_t expand_weight(int64_t b) const { return block(b); }                        // (2W, W)
  int64_t contract_weight(int64_t b) const { return block(b) + matrix(); }           // (W, 2W)
  // Of int8 alone:
  int64_t expand_start(int64_t b) const { return block(b) + 2 * matrix(); }          // int32 [padded(2W)] -128 sum_k q
  int64_t expand_scale(int64_t b) const { return expand_start(b) + wide(); }         // float [padded(2W)]
  int64_t contract_scale(int64_t b) const { return expand_scale(b) + wide(); }       // float [padded(W)]
  int64_t contract_bias(int64_t b) const { return contract_scale(b) + narrow(); }    // float [padded(W)] b - c scale sum_k q
  int64_t size() const { return block(network.blocks); }

 private:
  int64_t wide() const { return 4 * padded(2 * network.width); }
  int64_t narrow() const { return 4 * padded(network.width); }
  int64_t tables() const { return 2 * wide() + 2 * narrow(); }
};

// `packed` [network.size()] float32 in panels -> `coded` [size()] bytes.
void encode_blocks(const CodedLayout& layout, const float* packed, uint8_t* coded);

}  // namespace diffhpo
