// SPDX-License-Identifier: Apache-2.0
// csrc/cuda/cuda_intrinsics.h in C++: sums of products in float64, rounded once; tanh rounded to the 11 bits that the
// instruction promises; copies that arrive only when waited for.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "fibers.h"

#define DIFFHPO_DYNAMIC_SHARED(name) unsigned char* const name = emulation::dynamic_shared()

namespace diffhpo {

inline float bf16_value(uint32_t half) {
  const uint32_t bits = half << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

struct MatrixProduct {
  float (*c)[4];
  const uint32_t (*a)[4];
  uint32_t b[2];

  static void complete(MatrixProduct* const* lane, int) {
    double a[16][16], b[16][8];
    for (int i = 0; i < 32; ++i) {
      const int group = i / 4, column = i % 4 * 2;
      for (int part = 0; part < 2; ++part) {
        for (int word = 0; word < 4; ++word) {
          const uint32_t half = (*lane[i]->a)[word] >> (16 * part) & 0xFFFF;
          a[group + word % 2 * 8][column + word / 2 * 8 + part] = bf16_value(half);
        }
        for (int word = 0; word < 2; ++word) {
          b[column + 8 * word + part][group] = bf16_value(lane[i]->b[word] >> (16 * part) & 0xFFFF);
        }
      }
    }
    for (int i = 0; i < 32; ++i) {
      for (int at = 0; at < 4; ++at) {
        const int row = i / 4 + at / 2 * 8, column = i % 4 * 2 + at % 2;
        double sum = (*lane[i]->c)[at];
        for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
        (*lane[i]->c)[at] = static_cast<float>(sum);
      }
    }
  }
};

inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulation::meet<MatrixProduct>(emulation::Scope::warp, {&c, &a, {b0, b1}});
}

inline uint32_t round_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (std::isnan(x)) return 0x7FFF;
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

inline uint32_t pack_bf16(float low, float high) { return round_bf16(low) | round_bf16(high) << 16; }

inline float approximate_tanh(float x) {
  int exponent;
  const double mantissa = std::frexp(std::tanh(static_cast<double>(x)), &exponent);
  return static_cast<float>(std::ldexp(std::nearbyint(mantissa * 2048), exponent - 11));
}

inline void copy_async16(void* shared, const void* global) { emulation::copy_later(shared, global, 16); }
inline void copy_async8(void* shared, const void* global) { emulation::copy_later(shared, global, 8); }
inline void copy_async_commit() { emulation::commit_copies(); }
template <int pending>
inline void copy_async_wait() {
  emulation::wait_for_copies(pending);
}

}  // namespace diffhpo
