// SPDX-License-Identifier: Apache-2.0
// Packed fp32 weights as the tensor cores take them: bf16 fragments, made on the device once for a network.

#include <algorithm>

#include "cuda/cuda_intrinsics.h"
#include "cuda/cuda_launch.h"
#include "cuda/denoise_cuda.h"
#include "cuda/fragment_layout.h"
#include "noise/philox.h"

namespace diffhpo {
namespace {

constexpr int kArrangeThreads = 256;

// Element (output, input) of a packed matrix (network_layout.h), zero outside of it.
__device__ inline float element(const float* matrix, int64_t outputs, int64_t inputs, int64_t n, int64_t k) {
  if (n >= outputs || k >= inputs) return 0.0f;
  return matrix[(n / kPanel * inputs + k) * kPanel + n % kPanel];
}

// Two neighbouring inputs of one output, in word `word` of the tile (n, k).
__device__ inline uint32_t tile_word(const float* matrix, int64_t outputs, int64_t inputs, int64_t n, int64_t k,
                                     int word, float scale) {
  n = 16 * n + tile_output(word);
  k = 16 * k + tile_input(word);
  return pack_bf16(scale * element(matrix, outputs, inputs, n, k), scale * element(matrix, outputs, inputs, n, k + 1));
}

// fp32 panels -> bf16 fragments (fragment_layout.h), a word at a time.
__global__ void __launch_bounds__(kArrangeThreads) arrange_kernel(NetworkLayout network, FragmentLayout layout,
                                                                  const float* weights, uint32_t* fragments) {
  const int64_t width = network.width, stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t tiles = layout.width / 16, dim_tiles = layout.dim / 16;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < 4 * layout.size(); i += stride) {
    const int word = static_cast<int>(i % (4 * kTileVectors));
    uint32_t value;
    if (i < 4 * layout.output()) {
      const int64_t tile = i / (4 * kTileVectors);
      value = tile_word(weights + network.input_weight(), width, network.dim, tile / dim_tiles, tile % dim_tiles, word,
                        1.0f);
    } else if (i < 4 * layout.input_bias()) {
      const int64_t tile = (i - 4 * layout.output()) / (4 * kTileVectors);
      value = tile_word(weights + network.output_weight(), network.dim, width, tile / tiles, tile % tiles, word, 1.0f);
    } else if (i < 4 * layout.contract_bias()) {
      value = bits_of(weights[network.input_bias() + i - 4 * layout.input_bias()]);
    } else if (i < 4 * layout.output_bias()) {
      const int64_t at = i - 4 * layout.contract_bias();
      value = bits_of(weights[network.contract_bias(at / width) + at % width]);
    } else if (i < 4 * layout.panels()) {
      const int64_t at = i - 4 * layout.output_bias();
      value = at < network.dim ? bits_of(weights[network.output_bias() + at]) : 0;
    } else {
      const int64_t at = i - 4 * layout.panels();
      const int64_t panel = at / (4 * layout.panel_vectors());
      const int64_t tile = at % (4 * layout.panel_vectors()) / (4 * kTileVectors);
      const int64_t block = panel / layout.block_panels(), features = panel % layout.block_panels();
      value = tile < tiles ? tile_word(weights + network.expand_weight(block), 2 * width, width, features, tile,
                                       static_cast<int>(at % (4 * kTileVectors)), 0.5f)
                           : tile_word(weights + network.contract_weight(block), width, 2 * width, tile - tiles,
                                       features, static_cast<int>(at % (4 * kTileVectors)), 1.0f);
    }
    fragments[i] = value;
  }
}

}  // namespace

std::string arrange_cuda(const NetworkLayout& network, const float* weights, uint8_t* fragments, int device,
                         uintptr_t stream) {
  const FragmentLayout layout = FragmentLayout::of(network);
  const DeviceGuard guard(device);
  cudaError_t status = guard.status();
  if (status == cudaSuccess) {
    const int64_t blocks = std::min<int64_t>((4 * layout.size() + kArrangeThreads - 1) / kArrangeThreads, 1024);
    status = launch(arrange_kernel, static_cast<unsigned>(blocks), kArrangeThreads, 0,
                    reinterpret_cast<cudaStream_t>(stream), network, layout, weights,
                    reinterpret_cast<uint32_t*>(fragments));
  }
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

}  // namespace diffhpo
