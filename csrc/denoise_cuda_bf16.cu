// SPDX-License-Identifier: Apache-2.0
// The reverse loop on a CUDA device in bf16 with fp32 sums, x and update: one persistent launch for all steps.
//
// A block holds the network (denoise_cuda_supply.h); a warp takes 16 or 32 candidates through all steps in its
// registers (denoise_cuda_warp.h), then the next ones. Warps meet once a step, or once a stage of a streamed network.

#include <algorithm>
#include <climits>

#include "cuda_launch.h"
#include "denoise_cuda.h"
#include "denoise_cuda_rows.h"
#include "denoise_cuda_step.h"
#include "denoise_cuda_supply.h"
#include "denoise_cuda_warp.h"

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

// Eight warps may use 255 registers a thread each, and no kernel spills then (bench/ptxas_report.py). The tensor
// cores need no more of them: a warp has at least four products under way that do not wait for one another.
constexpr int kMostWarps = 8;

// Floats and words that a warp's lane holds per tile: hidden features, their fragments, x and its update.
constexpr int held_registers(int width, int dim) { return width / 2 + width / 4 + 2 * dim; }

template <int kWidth, int kDim, int kTiles>
__global__ void __launch_bounds__(32 * kMostWarps, 1)
    denoise_bf16_kernel(DenoiseProblem p, SharedPlacement place, const uint4* fragments, const int64_t* jobs,
                        int64_t* diverged) {
  DIFFHPO_DYNAMIC_SHARED(shared);
  constexpr int kTogether = kTiles == 1 && held_registers(kWidth, kDim) <= 160 ? 2 : 1;
  const int lane = lane_index(), row_in_tile = lane / 4;
  const int64_t rows = static_cast<int64_t>(blockDim.x) / 32 * 16 * kTiles;  // of the block
  const int64_t row_blocks = (p.candidates + rows - 1) / rows;
  // Of the row blocks blockIdx.x, blockIdx.x + gridDim.x, ...
  const int64_t own = (row_blocks - blockIdx.x + gridDim.x - 1) / gridDim.x;
  const uint32_t job_stride = static_cast<uint32_t>(p.branches * place.conditioning_bytes() / 4);
  const auto* head = reinterpret_cast<const uint4*>(shared);
  Supply supply(p, place, fragments, shared, own * p.steps);

  for (int64_t row_block = blockIdx.x; row_block < row_blocks; row_block += gridDim.x) {
    const int64_t first = row_block * rows + threadIdx.x / 32 * (16 * kTiles) + row_in_tile;
    uint64_t seed[kTiles], candidate[kTiles];  // of the row whose noise this lane draws
    uint32_t job[kTiles][2];                   // offsets of job_conditioning, rows g and g + 8
    float x[kTiles][kDim / 8][4];
    int first_bad = INT_MAX;
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // Rows beyond the last repeat it, and are not stored.
        const int64_t row = first + 16 * r + 8 * half;
        const Row found = find_row(jobs, p.jobs, row < p.candidates ? row : p.candidates - 1);
        job[r][half] = static_cast<uint32_t>(found.job) * job_stride;
        if (lane % 2 == half) seed[r] = found.seed, candidate[r] = found.candidate;
      }
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        draw_columns(8 * n, p.layout.dim, static_cast<uint32_t>(p.keys[0]), seed[r], candidate[r], x[r][n]);
      }
    }

    for (int step = 0; step < p.steps; ++step) {
      const StepView now = supply.next_step();
      float eps[kTiles][kDim / 8][4] = {};
      for (int branch = 0; branch < p.branches; ++branch) {
        float hidden[kTiles][kWidth / 8][4];
        {
          uint32_t in[kTiles][kDim / 16][4];
          to_fragments<kTiles, kDim>(x, in);
          set_bias<false, kTiles, kWidth>(reinterpret_cast<const float*>(head + place.layout.input_bias()), hidden);
          multiply<kTiles, kDim, kWidth>(head + place.layout.input(), in, hidden);
        }
        uint32_t in[kTiles][kWidth / 16][4];
        for (int block = 0; block < place.layout.blocks; ++block) {
          to_fragments<kTiles, kWidth>(hidden, in);
          set_bias<true, kTiles, kWidth>(
              reinterpret_cast<const float*>(head + place.layout.contract_bias()) + block * kWidth, hidden);
          const float* of_step = now.conditioning + block * 2 * kWidth;
          const float* of_job = p.job_conditioning + (branch * place.layout.blocks + block) * 2 * kWidth;
#pragma unroll 1
          for (int panel = 0; panel < kWidth / 8; panel += kStagePanels) {
            const uint4* at = supply.panels(block * (kWidth / 8) + panel, branch + block + panel == 0);
#pragma unroll
            for (int i = 0; i < kStagePanels; i += kTogether) {
              const int feature = 16 * (panel + i);
              residual<kTogether, kTiles, kWidth>(at + i * (kWidth / 8 * kTileVectors), of_step + feature,
                                                  of_job + feature, job, in, hidden);
            }
          }
        }
        to_fragments<kTiles, kWidth>(hidden, in);
        const float weight = p.branches == 1 ? 1.0f : branch == 0 ? 1.0f + p.guidance : -p.guidance;
#pragma unroll
        for (int n = 0; n < kDim / 16; ++n) {
          float sums[kTiles][2][4];
          set_bias<false, kTiles, 16>(reinterpret_cast<const float*>(head + place.layout.output_bias()) + 16 * n, sums);
          multiply<kTiles, kWidth, 16>(head + place.layout.output() + n * (kWidth / 16) * kTileVectors, in, sums);
#pragma unroll
          for (int r = 0; r < kTiles; ++r) {
#pragma unroll
            for (int i = 0; i < 8; ++i) eps[r][2 * n + i / 4][i % 4] += weight * sums[r][i / 4][i % 4];
          }
        }
      }

      const StepCoefficients c(now.coefficients);
      const uint32_t key = static_cast<uint32_t>(*now.key);
      float check = 0.0f;  // 0 * value is 0 for a finite value, nan otherwise
#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n) {
          float z[4] = {};
          if (c.sigma != 0.0f) draw_columns(8 * n, p.layout.dim, key, seed[r], candidate[r], z);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            x[r][n][i] = reverse_step(c, p.clip, x[r][n][i], eps[r][n][i], z[i]);
            check = fmaf(eps[r][n][i], 0.0f, fmaf(x[r][n][i], 0.0f, check));
          }
        }
      }
      if (check != 0.0f && first_bad == INT_MAX) first_bad = step;
    }

    if (first_bad != INT_MAX) atomicMin(reinterpret_cast<long long*>(diverged), static_cast<long long>(first_bad));
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int64_t row = first + 16 * r + i / 2 * 8, column = 8 * n + lane_column() + i % 2;
          if (row < p.candidates && column < p.layout.dim) p.x[row * p.layout.dim + column] = x[r][n][i];
        }
      }
    }
  }
  supply.finish();
}

struct Launch {
  const DenoiseProblem& problem;
  SharedPlacement place;
  const uint4* fragments;
  const int64_t* jobs;
  int64_t* diverged;
  DeviceLimits limits;
  int device;
  cudaStream_t stream;
};

// As few rounds as the registers allow, then as few warps a block as need no more rounds than that.
template <int kWidth, int kDim, int kTiles>
cudaError_t launch_loop(const Launch& call) {
  static std::atomic<uint64_t> done{0};
  const auto kernel = denoise_bf16_kernel<kWidth, kDim, kTiles>;
  const cudaError_t status = allow_shared_memory(kernel, call.limits.shared_bytes, call.device, &done);
  if (status != cudaSuccess) return status;
  const int64_t processors = call.limits.processors;
  const int64_t warps = (call.problem.candidates + 16 * kTiles - 1) / (16 * kTiles);
  const int64_t rounds = (warps + processors * kMostWarps - 1) / (processors * kMostWarps);
  const int64_t of_block = (warps + processors * rounds - 1) / (processors * rounds);
  const int64_t row_blocks = (warps + of_block - 1) / of_block;
  const int64_t blocks = row_blocks < processors ? row_blocks : processors;
  return launch(kernel, static_cast<unsigned>(blocks), static_cast<unsigned>(32 * of_block),
                static_cast<int>(call.place.size()), call.stream, call.problem, call.place, call.fragments, call.jobs,
                call.diverged);
}

// Two tiles a warp read every weight once for both: where the registers are there, and there are candidates enough
// to fill every processor's warps with one tile.
constexpr bool has_two_tiles(int width, int dim) { return held_registers(width, dim) <= 88; }

template <int kWidth, int kDim>
cudaError_t launch_width_dim(const Launch& call) {
  if constexpr (has_two_tiles(kWidth, kDim)) {
    if (call.problem.candidates > 16 * kMostWarps * call.limits.processors) {
      return launch_loop<kWidth, kDim, 2>(call);
    }
  }
  return launch_loop<kWidth, kDim, 1>(call);
}

template <int kWidth>
cudaError_t launch_width(const Launch& call) {
  switch (call.place.layout.dim) {
    case 16: return launch_width_dim<kWidth, 16>(call);
    case 32: return launch_width_dim<kWidth, 32>(call);
    default: return launch_width_dim<kWidth, kLargestFragmentDim>(call);
  }
}

cudaError_t launch_any(const Launch& call) {
  switch (call.place.layout.width) {
    case 32: return launch_width<32>(call);
    case 64: return launch_width<64>(call);
    case 96: return launch_width<96>(call);
    default: return launch_width<128>(call);
  }
}

}  // namespace

std::string denoise_cuda_bf16(const DenoiseProblem& problem, const int64_t* jobs, int64_t* diverged, int device,
                              uintptr_t stream) {
  if (problem.candidates == 0) return "";
  const NetworkLayout& network = problem.layout;
  if (problem.steps > INT_MAX) return "too many steps for one launch";
  if (problem.jobs * problem.branches * network.blocks > UINT32_MAX / (2 * network.width)) {
    return "too many jobs for one launch";
  }
  const DeviceGuard guard(device);
  DeviceLimits limits;
  cudaError_t status = guard.status();
  if (status == cudaSuccess) status = read_limits(device, &limits);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  SharedPlacement place{FragmentLayout::of(network), true};
  place.resident = place.size() <= limits.shared_bytes;
  if (place.size() > limits.shared_bytes) return "the network has too many blocks for the shared memory of this device";
  status = launch_any({problem, place, reinterpret_cast<const uint4*>(problem.coded), jobs, diverged, limits, device,
                       reinterpret_cast<cudaStream_t>(stream)});
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

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
