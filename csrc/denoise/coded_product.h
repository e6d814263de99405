// SPDX-License-Identifier: Apache-2.0
// Register tiles of products of coded rows and coded weights (precision.h), AVX-512 alone.
//
// A lane holds one output; one instruction multiplies the 4 bytes of `group` neighbouring inputs of a row by those
// of 16 outputs and adds the products to the outputs' sums. Every sum runs over ascending inputs whatever the rows.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "denoise/network_layout.h"
#include "cpu/simd.h"

namespace diffhpo {
namespace {

constexpr int kCodedRows = 12;
DIFFHPO_INLINE constexpr int most_vectors(int rows) { return rows <= 3 ? 8 : rows <= 6 ? 4 : 2; }

// `codes` [rows][row_bytes], `weights` [panel][groups][32][4 bytes]. Calls epilogue(row, output, sum) with the sum of
// every vector of outputs; start(output) is what sums begin with.
template <class Format, int Rows, int Vectors, class Epilogue>
DIFFHPO_INLINE void product_block(const uint8_t* codes, int64_t row_bytes, const uint8_t* weights, int groups,
                                  int first, const Format& format, const Epilogue& epilogue) {
  constexpr int kPanelBytes = kPanel * 4;
  const int64_t panel_stride = static_cast<int64_t>(groups) * kPanelBytes;
  const uint8_t* panel = weights + first / kPanel * panel_stride + first % kPanel * 4;
  typename Format::Sum sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) sum[row][v] = format.start(first + v * kLanes);
  }
  for (int g = 0; g < groups; ++g) {
    __m512i w[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      w[v] = _mm512_loadu_si512(panel + v / 2 * panel_stride + g * kPanelBytes + v % 2 * 64);
    }
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) {
      int32_t code;
      __builtin_memcpy(&code, codes + row * row_bytes + 4 * g, sizeof code);
      const __m512i value = _mm512_set1_epi32(code);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[row][v] = Format::dot(sum[row][v], value, w[v]);
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) epilogue(row, first + v * kLanes, sum[row][v]);
  }
}

template <class Format, int Rows, int Vectors, class Epilogue>
__attribute__((noinline)) void product_rows(const uint8_t* codes, int64_t row_bytes, const uint8_t* weights,
                                            int groups, int outputs, const Format& format, const Epilogue& epilogue) {
  int first = 0;
  for (; first + Vectors * kLanes <= outputs; first += Vectors * kLanes) {
    product_block<Format, Rows, Vectors>(codes, row_bytes, weights, groups, first, format, epilogue);
  }
  for (; first < outputs; first += 2 * kLanes) {
    product_block<Format, Rows, 2>(codes, row_bytes, weights, groups, first, format, epilogue);
  }
}

template <class Format, int Rows, class Epilogue>
void last_coded_rows(const uint8_t* codes, int rows, int64_t row_bytes, const uint8_t* weights, int groups,
                     int outputs, const Format& format, const Epilogue& epilogue) {
  if (rows == Rows) {
    product_rows<Format, Rows, most_vectors(Rows)>(codes, row_bytes, weights, groups, outputs, format, epilogue);
  } else if constexpr (Rows > 1) {
    last_coded_rows<Format, Rows - 1>(codes, rows, row_bytes, weights, groups, outputs, format, epilogue);
  }
}

// All `rows` rows and the `outputs`, a multiple of 32.
template <class Format, class Epilogue>
DIFFHPO_INLINE void coded_product(const uint8_t* codes, int rows, int64_t row_bytes, const uint8_t* weights,
                                  int groups, int outputs, const Format& format, const Epilogue& epilogue) {
  int row = 0;
  for (; row + kCodedRows <= rows; row += kCodedRows) {
    product_rows<Format, kCodedRows, 2>(codes + row * row_bytes, row_bytes, weights, groups, outputs, format,
                                        epilogue.from(row));
  }
  if (row < rows) {
    last_coded_rows<Format, kCodedRows - 1>(codes + row * row_bytes, rows - row, row_bytes, weights, groups, outputs,
                                            format, epilogue.from(row));
  }
}

// x / (1 + e^-x) to a relative error of 1.5e-4, finer than the codes; -inf gives nan.
DIFFHPO_INLINE __m512 coarse_silu(__m512 x) {
  const __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f));
  const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // t - floor(t)
  __m512 e = _mm512_set1_ps(0x1.3f96a2p-4f);  // 2^f on [0, 1) by minimax, relative error 7.5e-5
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.cefc4ep-3f));
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.64444cp-1f));
  e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(0x1.fff632p-1f));
  const __m512 exponential = _mm512_scalef_ps(e, t);  // times 2^floor(t)
  return _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(exponential, _mm512_set1_ps(1.0f))));
}

}  // namespace
}  // namespace diffhpo
