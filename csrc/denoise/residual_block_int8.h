// SPDX-License-Identifier: Apache-2.0
// A residual block of a tile with its products in int8 (precision.h says what is coded how).
#pragma once

#include "denoise/coded_product.h"
#include "denoise/conditioning.h"
#include "denoise/denoise_cpu.h"
#include "denoise/precision.h"

namespace diffhpo {
namespace {

struct Int8Format {
  using Sum = __m512i;
  const int32_t* starts;  // [outputs], or null for zero

  DIFFHPO_INLINE Sum start(int output) const {
    return starts == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(starts + output);
  }
  static DIFFHPO_INLINE Sum dot(Sum sum, __m512i codes, __m512i weights) {
    // As _mm512_dpbusd_epi32, around which GCC 12 copies and spills every sum.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(weights));
    return sum;
  }
};

// s scale sum + initial of a row and 16 outputs.
struct Decoder {
  const float* row_scale;
  const float* scale;    // [outputs]
  const float* initial;  // [outputs]

  DIFFHPO_INLINE __m512 decode(int row, int output, __m512i sum) const {
    const __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(scale + output), _mm512_set1_ps(row_scale[row]));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, _mm512_loadu_ps(initial + output));
  }
};

struct SiluEpilogue {
  Decoder decoder;
  float* out;
  int64_t stride;

  DIFFHPO_INLINE void operator()(int row, int output, __m512i sum) const {
    _mm512_storeu_ps(out + row * stride + output, coarse_silu(decoder.decode(row, output, sum)));
  }
  SiluEpilogue from(int row) const {
    return {{decoder.row_scale + row, decoder.scale, decoder.initial}, out + row * stride, stride};
  }
};

struct ResidualEpilogue {
  Decoder decoder;
  float* out;
  int64_t stride;

  DIFFHPO_INLINE void operator()(int row, int output, __m512i sum) const {
    float* to = out + row * stride + output;
    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), decoder.decode(row, output, sum)));
  }
  ResidualEpilogue from(int row) const {
    return {{decoder.row_scale + row, decoder.scale, decoder.initial}, out + row * stride, stride};
  }
};

DIFFHPO_INLINE float inverse(float scale) { return scale > 1e-37f ? 1.0f / scale : 0.0f; }

// v = s (q - 128); `stride` floats and as many codes a row.
void encode_signed(const float* values, int rows, int64_t stride, uint8_t* codes, float* row_scale) {
  for (int row = 0; row < rows; ++row) {
    const float* v = values + row * stride;
    __m512 largest = _mm512_setzero_ps();
    for (int64_t j = 0; j < stride; j += 16) {
      largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_loadu_ps(v + j)));
    }
    row_scale[row] = _mm512_reduce_max_ps(largest) * (1.0f / 127.0f);
    const __m512 factor = _mm512_set1_ps(inverse(row_scale[row]));
    for (int64_t j = 0; j < stride; j += 16) {
      const __m512i code = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_loadu_ps(v + j), factor, _mm512_set1_ps(128.0f)));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + row * stride + j),
                       _mm512_cvtusepi32_epi8(_mm512_max_epi32(code, _mm512_setzero_si512())));
    }
  }
}

// v = s q - c.
void encode_after_silu(const float* values, int rows, int64_t stride, uint8_t* codes, float* row_scale) {
  const __m512 shift = _mm512_set1_ps(kSiluMinimum);
  for (int row = 0; row < rows; ++row) {
    const float* v = values + row * stride;
    __m512 largest = _mm512_setzero_ps();
    for (int64_t j = 0; j < stride; j += 16) largest = _mm512_max_ps(largest, _mm512_loadu_ps(v + j));
    row_scale[row] = (_mm512_reduce_max_ps(largest) + kSiluMinimum) * (1.0f / 255.0f);
    const __m512 factor = _mm512_set1_ps(inverse(row_scale[row]));
    for (int64_t j = 0; j < stride; j += 16) {
      const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_add_ps(_mm512_loadu_ps(v + j), shift), factor));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + row * stride + j),
                       _mm512_cvtusepi32_epi8(_mm512_max_epi32(code, _mm512_setzero_si512())));
    }
  }
}

// h += contract silu(expand h + conditioning) + bias. A value that is not finite makes its row's scale infinite or
// stays in the residual stream, which is float32: either way eps is not finite and the caller sees it.
void apply_block(const DenoiseProblem& p, const Scratch& s, const Tile& tile, int64_t step, int64_t branch, int64_t b) {
  const CodedLayout coded{p.layout, Precision::int8};
  const int rows = tile.rows;
  const int64_t narrow = padded(p.layout.width), wide = padded(2 * p.layout.width);
  const auto floats = [&](int64_t offset) { return reinterpret_cast<const float*>(p.coded + offset); };
  add_conditioning(p, s, tile, step, branch, b);
  encode_signed(s.hidden, rows, narrow, s.codes, s.row_scale);
  const Decoder of_expand{s.row_scale, floats(coded.expand_scale(b)), s.conditioning};
  coded_product(s.codes, rows, narrow, p.coded + coded.expand_weight(b), static_cast<int>(narrow / 4),
                static_cast<int>(wide), Int8Format{reinterpret_cast<const int32_t*>(p.coded + coded.expand_start(b))},
                SiluEpilogue{of_expand, s.expanded, wide});
  encode_after_silu(s.expanded, rows, wide, s.codes, s.row_scale);
  const Decoder of_contract{s.row_scale, floats(coded.contract_scale(b)), floats(coded.contract_bias(b))};
  coded_product(s.codes, rows, wide, p.coded + coded.contract_weight(b), static_cast<int>(wide / 4),
                static_cast<int>(narrow), Int8Format{nullptr}, ResidualEpilogue{of_contract, s.hidden, narrow});
}

}  // namespace
}  // namespace diffhpo
