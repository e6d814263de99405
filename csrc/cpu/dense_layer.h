// SPDX-License-Identifier: Apache-2.0
// out = activation(initial + W in) for a few rows, outputs in SIMD lanes, W in panels (panels.h).
//
// Every output is summed in one order whatever the number of rows: inputs ascending, in `segments(...)` equal
// parts whose sums are added from the first to the last. A single row runs the parts side by side, because one
// chain of dependent FMAs would leave the units idle; many rows run them one after another.
#pragma once

#include "panels.h"
#include "cpu/simd.h"

namespace diffhpo {
namespace {

enum class Activation { none, silu, residual };  // residual: out += initial + W in

struct DenseLayer {
  const float* weights;  // [panel][inputs][32]
  const float* initial;  // [padded(outputs)] bias or conditioning
  int inputs;
  int outputs;
  Activation activation;
};

constexpr int kVectorsPerPanel = kPanel / kLanes;

#if defined(__AVX512F__)
constexpr int kRows = 12;
DIFFHPO_INLINE constexpr int widest(int rows) { return rows <= 3 ? 8 : rows <= 6 ? 4 : 2; }
#else
constexpr int kRows = 6;
DIFFHPO_INLINE constexpr int widest(int rows) { return rows == 1 ? 8 : rows <= 3 ? 4 : 2; }
#endif

DIFFHPO_INLINE int vectors(int outputs) { return (outputs + kLanes - 1) / kLanes; }

DIFFHPO_INLINE int segments(int inputs, int outputs) {
  const int wanted = vectors(outputs) >= 8 ? 1 : vectors(outputs) >= 4 ? 2 : 4;
  return inputs % wanted == 0 ? wanted : 1;
}

template <int Rows, int Vectors, int Parts>
DIFFHPO_INLINE void accumulate(const float* in, int64_t in_stride, const float* weights, int64_t panel_stride,
                               int count, Vec (&sum)[Parts][Rows][Vectors]) {
  for (int k = 0; k < count; ++k) {
#pragma GCC unroll 4
    for (int part = 0; part < Parts; ++part) {
      const int64_t input = static_cast<int64_t>(part) * count + k;
      Vec w[Vectors];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        w[v] = load(weights + (v / kVectorsPerPanel) * panel_stride + input * kPanel +
                    (v % kVectorsPerPanel) * kLanes);
      }
#pragma GCC unroll 12
      for (int row = 0; row < Rows; ++row) {
        const Vec value = broadcast(in[row * in_stride + input]);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[part][row][v] = fused(value, w[v], sum[part][row][v]);
      }
    }
  }
}

template <int Rows, int Vectors>
DIFFHPO_INLINE void finish(Activation activation, const Vec (&sum)[Rows][Vectors], float* out, int64_t out_stride) {
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      float* to = out + row * out_stride + v * kLanes;
      Vec value = sum[row][v];
      if (activation == Activation::silu) value = silu(value);
      if (activation == Activation::residual) value = load(to) + value;
      store(to, value);
    }
  }
}

// Outputs [first, first + Vectors * kLanes) of `Rows` rows.
template <int Rows, int Vectors, int Parts>
__attribute__((noinline)) void block_side_by_side(const DenseLayer& layer, int first, const float* in,
                                                  int64_t in_stride, float* out, int64_t out_stride) {
  const int64_t panel_stride = static_cast<int64_t>(layer.inputs) * kPanel;
  const float* weights = layer.weights + (first / kPanel) * panel_stride + first % kPanel;
  Vec sum[Parts][Rows][Vectors];
  for (int part = 0; part < Parts; ++part) {
    for (int row = 0; row < Rows; ++row) {
      for (int v = 0; v < Vectors; ++v) {
        sum[part][row][v] = part == 0 ? load(layer.initial + first + v * kLanes) : Vec{};
      }
    }
  }
  accumulate<Rows, Vectors, Parts>(in, in_stride, weights, panel_stride, layer.inputs / Parts, sum);
  for (int part = 1; part < Parts; ++part) {
    for (int row = 0; row < Rows; ++row) {
      for (int v = 0; v < Vectors; ++v) sum[0][row][v] = sum[0][row][v] + sum[part][row][v];
    }
  }
  finish<Rows, Vectors>(layer.activation, sum[0], out + first, out_stride);
}

template <int Rows, int Vectors>
__attribute__((noinline)) void block_in_turn(const DenseLayer& layer, int parts, int first, const float* in,
                                             int64_t in_stride, float* out, int64_t out_stride) {
  const int64_t panel_stride = static_cast<int64_t>(layer.inputs) * kPanel;
  const float* weights = layer.weights + (first / kPanel) * panel_stride + first % kPanel;
  const int count = layer.inputs / parts;
  Vec sum[1][Rows][Vectors];
  for (int row = 0; row < Rows; ++row) {
    for (int v = 0; v < Vectors; ++v) sum[0][row][v] = load(layer.initial + first + v * kLanes);
  }
  accumulate<Rows, Vectors, 1>(in, in_stride, weights, panel_stride, count, sum);
  for (int part = 1; part < parts; ++part) {
    Vec next[1][Rows][Vectors] = {};
    accumulate<Rows, Vectors, 1>(in + part * count, in_stride, weights + static_cast<int64_t>(part) * count * kPanel,
                                 panel_stride, count, next);
    for (int row = 0; row < Rows; ++row) {
      for (int v = 0; v < Vectors; ++v) sum[0][row][v] = sum[0][row][v] + next[0][row][v];
    }
  }
  finish<Rows, Vectors>(layer.activation, sum[0], out + first, out_stride);
}

// All outputs from `first` on, in blocks of `Vectors` and, for the rest, of half as many.
template <int Rows, int Vectors>
void outputs_from(const DenseLayer& layer, int first, const float* in, int64_t in_stride, float* out,
                  int64_t out_stride) {
  const int parts = segments(layer.inputs, layer.outputs);
  for (; vectors(layer.outputs - first) >= Vectors; first += Vectors * kLanes) {
    if constexpr (Rows == 1) {
      if (parts == 2) {
        block_side_by_side<Rows, Vectors, 2>(layer, first, in, in_stride, out, out_stride);
        continue;
      }
      if (parts == 4) {
        block_side_by_side<Rows, Vectors, 4>(layer, first, in, in_stride, out, out_stride);
        continue;
      }
    }
    block_in_turn<Rows, Vectors>(layer, parts, first, in, in_stride, out, out_stride);
  }
  if constexpr (Vectors > 1) {
    if (first < layer.outputs) outputs_from<Rows, Vectors / 2>(layer, first, in, in_stride, out, out_stride);
  }
}

template <int Rows>
void last_rows(const DenseLayer& layer, int rows, const float* in, int64_t in_stride, float* out,
               int64_t out_stride) {
  if (rows == Rows) {
    outputs_from<Rows, widest(Rows)>(layer, 0, in, in_stride, out, out_stride);
  } else if constexpr (Rows > 1) {
    last_rows<Rows - 1>(layer, rows, in, in_stride, out, out_stride);
  }
}

// `in` [rows, inputs] with rows in_stride floats apart -> `out` [rows, padded(outputs)], out_stride apart.
void apply(const DenseLayer& layer, int rows, const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  int row = 0;
  // Panels outside, rows inside: a panel is read from the second-level cache once for all rows of a tile.
  const int full = rows / kRows * kRows;
  if (full > 0) {
    const int parts = segments(layer.inputs, layer.outputs);
    int first = 0;
    for (; vectors(layer.outputs - first) >= 2; first += 2 * kLanes) {
      for (row = 0; row < full; row += kRows) {
        block_in_turn<kRows, 2>(layer, parts, first, in + row * in_stride, in_stride, out + row * out_stride,
                                out_stride);
      }
    }
    for (; first < layer.outputs; first += kLanes) {
      for (row = 0; row < full; row += kRows) {
        block_in_turn<kRows, 1>(layer, parts, first, in + row * in_stride, in_stride, out + row * out_stride,
                                out_stride);
      }
    }
  }
  if (full < rows) {
    last_rows<kRows - 1>(layer, rows - full, in + full * in_stride, in_stride, out + full * out_stride, out_stride);
  }
}

}  // namespace
}  // namespace diffhpo
