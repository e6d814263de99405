// SPDX-License-Identifier: Apache-2.0
// A residual block of a tile with its products in bfloat16 (precision.h).
#pragma once

#include "denoise/coded_product.h"
#include "denoise/conditioning.h"
#include "denoise/denoise_cpu.h"
#include "denoise/precision.h"

namespace diffhpo {
namespace {

struct Bf16Format {
  using Sum = __m512;
  const float* initial;  // [outputs]

  DIFFHPO_INLINE Sum start(int output) const { return _mm512_loadu_ps(initial + output); }
  static DIFFHPO_INLINE Sum dot(Sum sum, __m512i codes, __m512i weights) {
    // As _mm512_dpbf16_ps, around which GCC 12 copies and spills every sum.
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(weights));
    return sum;
  }
};

DIFFHPO_INLINE void store_bf16(uint8_t* codes, __m512 values) {
  const __m256bh rounded = _mm512_cvtneps_pbh(values);
  __builtin_memcpy(codes, &rounded, sizeof rounded);
}

// The hidden layer goes on as codes alone.
struct SiluEpilogue {
  uint8_t* codes;
  int64_t stride;  // in bytes

  DIFFHPO_INLINE void operator()(int row, int output, __m512 sum) const {
    store_bf16(codes + row * stride + 2 * output, coarse_silu(sum));
  }
  SiluEpilogue from(int row) const { return {codes + row * stride, stride}; }
};

// h += sum, and h's codes for the next block.
struct ResidualEpilogue {
  float* out;
  uint8_t* codes;
  int64_t stride;

  DIFFHPO_INLINE void operator()(int row, int output, __m512 sum) const {
    float* to = out + row * stride + output;
    const __m512 next = _mm512_add_ps(_mm512_loadu_ps(to), sum);
    _mm512_storeu_ps(to, next);
    store_bf16(codes + 2 * (row * stride + output), next);
  }
  ResidualEpilogue from(int row) const { return {out + row * stride, codes + 2 * row * stride, stride}; }
};

// h += contract silu(expand h + conditioning) + bias.
void apply_block(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t step, int64_t branch, int64_t b) {
  const CodedLayout coded{p.layout, Precision::bf16};
  const int rows = tile.rows;
  const int64_t narrow = padded(p.layout.width), wide = padded(2 * p.layout.width);
  uint8_t* expanded = reinterpret_cast<uint8_t*>(s.expanded);
  if (b == 0) {  // the blocks after it leave h's codes behind
    for (int64_t j = 0; j < rows * narrow; j += 16) store_bf16(s.codes + 2 * j, _mm512_loadu_ps(s.hidden + j));
  }
  add_conditioning(p, s, tile, step, branch, b);
  coded_product(s.codes, rows, 2 * narrow, p.coded + coded.expand_weight(b), static_cast<int>(narrow / 2),
                static_cast<int>(wide), Bf16Format{s.conditioning}, SiluEpilogue{expanded, 2 * wide});
  coded_product(expanded, rows, 2 * wide, p.coded + coded.contract_weight(b), static_cast<int>(wide / 2),
                static_cast<int>(narrow), Bf16Format{p.weights + p.layout.contract_bias(b)},
                ResidualEpilogue{s.hidden, s.codes, narrow});
}

}  // namespace
}  // namespace diffhpo
