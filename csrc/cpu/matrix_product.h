// SPDX-License-Identifier: Apache-2.0
// out = initial + a b, in register tiles: the one product that forward, backward and weight gradients are made of.
//
// Elements of `a` are broadcast, so it may lie by rows or by columns; rows of `b` and `out` fill SIMD lanes. Every
// element is one sum, `inner` ascending, whatever the tiles; `initial`, often larger than the sum, comes last.
#pragma once

#include <cstdint>

#include "panels.h"
#include "cpu/simd.h"
#include "training/training_layout.h"

namespace diffhpo {
namespace {

#if defined(__AVX512F__)
constexpr int kProductRows = 12;
#else
constexpr int kProductRows = 6;
#endif

struct Left {
  const float* at;
  int64_t row, inner;  // strides; one of them is 1
};

// A matrix by rows has panel = kPanel; one in panels (panels.h) has inner = kPanel.
struct Right {
  const float* at;
  int64_t inner, panel;  // strides of the inner index and of kPanel columns

  DIFFHPO_INLINE const float* column(int64_t c) const { return at + c / kPanel * panel + c % kPanel; }
};

struct Rows {
  float* at;
  int64_t stride;
};

DIFFHPO_INLINE Left by_rows(const float* at, int64_t stride) { return {at, stride, 1}; }
DIFFHPO_INLINE Left by_columns(const float* at, int64_t stride) { return {at, 1, stride}; }
DIFFHPO_INLINE Right rows_of(const float* at, int64_t stride) { return {at, stride, kPanel}; }
DIFFHPO_INLINE Right panels_of(const float* at, int64_t inner) { return {at, kPanel, inner * kPanel}; }

// `initial` null stands for zero; stride 0 for the same row everywhere.
struct Initial {
  const float* at;
  int64_t stride;
};
constexpr Initial kZero{nullptr, 0};

template <int RowCount, int Vectors, bool ByColumns>
__attribute__((noinline)) void product_tile(int64_t inner, Left a, Right b, Initial initial, Rows out) {
  const int64_t across = ByColumns ? 1 : a.row, along = ByColumns ? a.inner : 1;
  Vec sum[RowCount][Vectors] = {};
  const float* from = a.at;
  const float* weights = b.at;
  for (int64_t k = 0; k < inner; ++k, from += along, weights += b.inner) {
    Vec w[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) w[v] = load(weights + v * kLanes);
#pragma GCC unroll 12
    for (int row = 0; row < RowCount; ++row) {
      const Vec value = broadcast(from[row * across]);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[row][v] = fused(value, w[v], sum[row][v]);
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < RowCount; ++row) {
    for (int v = 0; v < Vectors; ++v) {
      if (initial.at != nullptr) sum[row][v] = sum[row][v] + load(initial.at + row * initial.stride + v * kLanes);
      store(out.at + row * out.stride + v * kLanes, sum[row][v]);
    }
  }
}

template <int RowCount, int Vectors, bool ByColumns>
DIFFHPO_INLINE void tile_of(int rows, int64_t inner, Left a, Right b, Initial initial, Rows out) {
  if (rows == RowCount) {
    product_tile<RowCount, Vectors, ByColumns>(inner, a, b, initial, out);
  } else if constexpr (RowCount > 1) {
    tile_of<RowCount - 1, Vectors, ByColumns>(rows, inner, a, b, initial, out);
  }
}

template <int Vectors, bool ByColumns>
void product_columns(int64_t rows, int64_t inner, Left a, Right b, Initial initial, Rows out) {
  // Nearly equal tiles: a last one of few rows would wait for its own sums.
  for (int64_t row = 0, tiles = (rows + kProductRows - 1) / kProductRows; tiles > 0; --tiles) {
    const int64_t count = (rows - row + tiles - 1) / tiles;
    const Left part{a.at + row * a.row, a.row, a.inner};
    const Initial start{initial.at == nullptr ? nullptr : initial.at + row * initial.stride, initial.stride};
    tile_of<kProductRows, Vectors, ByColumns>(static_cast<int>(count), inner, part, b, start,
                                              {out.at + row * out.stride, out.stride});
    row += count;
  }
}

// out [rows, columns] = initial + a [rows, inner] b [inner, columns]; columns a multiple of kRowMultiple.
void multiply(int64_t rows, int64_t columns, int64_t inner, Left a, Right b, Initial initial, Rows out) {
  for (int64_t c = 0; c < columns;) {
    const Right part{b.column(c), b.inner, b.panel};
    const Initial start{initial.at == nullptr ? nullptr : initial.at + c, initial.stride};
    const Rows to{out.at + c, out.stride};
    const bool pair = columns - c >= 2 * kLanes, columnwise = a.row == 1;
    if (pair && columnwise) product_columns<2, true>(rows, inner, a, part, start, to);
    if (pair && !columnwise) product_columns<2, false>(rows, inner, a, part, start, to);
    if (!pair && columnwise) product_columns<1, true>(rows, inner, a, part, start, to);
    if (!pair && !columnwise) product_columns<1, false>(rows, inner, a, part, start, to);
    c += pair ? 2 * kLanes : kLanes;
  }
}

// Sums of the columns, rows ascending.
DIFFHPO_INLINE void add_rows(int64_t rows, int64_t columns, const float* from, int64_t stride, float* to) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    Vec sum = {};
    for (int64_t row = 0; row < rows; ++row) sum = sum + load(from + row * stride + c);
    store(to + c, sum);
  }
}

// from [rows, columns] -> to [columns, rows]; `columns` a multiple of kRowMultiple.
DIFFHPO_INLINE void transpose(int64_t rows, int64_t columns, const float* from, int64_t from_stride, float* to,
                              int64_t to_stride) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vec v[4];
      for (int k = 0; k < 4; ++k) v[k] = load(from + (row + k) * from_stride + c);
      interleave(v);
      for (int k = 0; k < 4; ++k) {
        for (int quarter = 0; quarter < kLanes / 4; ++quarter) {
          float four[4];
          __builtin_memcpy(four, reinterpret_cast<const char*>(&v[k]) + 16 * quarter, sizeof four);
          __builtin_memcpy(to + (c + 4 * quarter + k) * to_stride + row, four, sizeof four);
        }
      }
    }
  }
  for (; row < rows; ++row) {
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + row] = from[row * from_stride + c];
  }
}

// W [outputs, inputs] by rows -> its transpose in panels, for `in W^T`; inputs a multiple of kRowMultiple.
DIFFHPO_INLINE void transpose_to_panels(int64_t outputs, int64_t inputs, const float* from, int64_t stride,
                                        int64_t inner, float* to) {
  for (int64_t o = 0; o < outputs; o += kPanel) {
    const int64_t count = outputs - o < kPanel ? outputs - o : kPanel;
    transpose(count, inputs, from + o * stride, stride, to + o * inner, kPanel);
  }
}

}  // namespace
}  // namespace diffhpo
