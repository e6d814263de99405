// SPDX-License-Identifier: Apache-2.0
#include "denoise/precision.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace diffhpo {
namespace {

uint16_t bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// One matrix in panels (network_layout.h).
struct Matrix {
  const float* packed;
  int64_t outputs, inputs;

  float at(int64_t j, int64_t k) const {
    return k < inputs ? packed[(j / kPanel * inputs + k) * kPanel + j % kPanel] : 0.0f;
  }
};

// Place of (j, k), counted in weights.
int64_t place(const Matrix& matrix, int64_t group, int64_t j, int64_t k) {
  return ((j / kPanel * (padded(matrix.inputs) / group) + k / group) * kPanel + j % kPanel) * group + k % group;
}

void encode_bf16(const Matrix& matrix, uint8_t* to) {
  for (int64_t j = 0; j < padded(matrix.outputs); ++j) {
    for (int64_t k = 0; k < padded(matrix.inputs); ++k) {
      const uint16_t code = bfloat16(matrix.at(j, k));
      std::memcpy(to + 2 * place(matrix, 2, j, k), &code, sizeof code);
    }
  }
}

// Writes codes; scales [padded(outputs)] and sums of the codes.
void encode_int8(const Matrix& matrix, uint8_t* to, std::vector<float>* scales, std::vector<int32_t>* sums) {
  for (int64_t j = 0; j < padded(matrix.outputs); ++j) {
    float largest = 0.0f;
    for (int64_t k = 0; k < matrix.inputs; ++k) largest = std::max(largest, std::fabs(matrix.at(j, k)));
    const float scale = largest / 127.0f;
    int32_t sum = 0;
    for (int64_t k = 0; k < padded(matrix.inputs); ++k) {
      // Below the smallest normal scale a row is as good as zero, and its inverse would overflow.
      const float code = scale > 1e-37f ? std::nearbyint(matrix.at(j, k) / scale) : 0.0f;
      const int8_t byte = static_cast<int8_t>(std::min(127.0f, std::max(-127.0f, code)));
      std::memcpy(to + place(matrix, 4, j, k), &byte, 1);
      sum += byte;
    }
    scales->push_back(scale);
    sums->push_back(sum);
  }
}

template <class T>
void write(uint8_t* to, const std::vector<T>& values) {
  std::memcpy(to, values.data(), values.size() * sizeof(T));
}

}  // namespace

void encode_blocks(const CodedLayout& layout, const float* packed, uint8_t* coded) {
  const NetworkLayout& network = layout.network;
  for (int64_t b = 0; b < network.blocks; ++b) {
    const Matrix expand{packed + network.expand_weight(b), 2 * network.width, network.width};
    const Matrix contract{packed + network.contract_weight(b), network.width, 2 * network.width};
    uint8_t* expand_to = coded + layout.expand_weight(b);
    uint8_t* contract_to = coded + layout.contract_weight(b);
    if (layout.precision == Precision::bf16) {
      encode_bf16(expand, expand_to);
      encode_bf16(contract, contract_to);
      continue;
    }
    std::vector<float> expand_scale, contract_scale, bias;
    std::vector<int32_t> expand_sum, contract_sum;
    encode_int8(expand, expand_to, &expand_scale, &expand_sum);
    encode_int8(contract, contract_to, &contract_scale, &contract_sum);
    for (int32_t& sum : expand_sum) sum *= -128;
    for (size_t j = 0; j < contract_sum.size(); ++j) {
      const double shift = static_cast<double>(kSiluMinimum) * contract_scale[j] * contract_sum[j];
      bias.push_back(static_cast<float>(packed[network.contract_bias(b) + j] - shift));
    }
    write(coded + layout.expand_start(b), expand_sum);
    write(coded + layout.expand_scale(b), expand_scale);
    write(coded + layout.contract_scale(b), contract_scale);
    write(coded + layout.contract_bias(b), bias);
  }
}

}  // namespace diffhpo
