// SPDX-License-Identifier: Apache-2.0
// The reverse loop on a CUDA device in bf16 with fp32 sums, x and update: one persistent launch for all steps.
//
// A block holds the network (denoise_cuda_supply.h); a warp takes 16 or 32 candidates through all steps in its
// registers (denoise_cuda_warp.h), then the next ones. Warps meet once a step, or once a stage of a streamed network.
// Where there are too few candidates for that, the warps of a block share 16 of them (denoise_cuda_split.h).

#include <climits>

#include "cuda/cuda_launch.h"
#include "cuda/denoise_cuda.h"
#include "cuda/denoise_cuda_candidates.h"
#include "cuda/denoise_cuda_split.h"

namespace diffhpo {
namespace {

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
  const int64_t rows = static_cast<int64_t>(blockDim.x) / 32 * 16 * kTiles;  // of the block
  const int64_t row_blocks = (p.candidates + rows - 1) / rows;
  // Of the row blocks blockIdx.x, blockIdx.x + gridDim.x, ...
  const int64_t own = (row_blocks - blockIdx.x + gridDim.x - 1) / gridDim.x;
  const HeadView head{place.layout, reinterpret_cast<const uint4*>(shared)};
  Supply supply(p, place, fragments, shared, own * p.steps);

  for (int64_t row_block = blockIdx.x; row_block < row_blocks; row_block += gridDim.x) {
    Candidates<kDim, kTiles> candidates;
    candidates.start(p, jobs, job_floats(p), row_block * rows + threadIdx.x / 32 * (16 * kTiles));
    for (int step = 0; step < p.steps; ++step) {
      const StepView now = supply.next_step();
      float eps[kTiles][kDim / 8][4] = {};
      for (int branch = 0; branch < p.branches; ++branch) {
        float hidden[kTiles][kWidth / 8][4];
        head.input<kDim, kTiles, kWidth>(candidates.x, 0, hidden);
        uint32_t in[kTiles][kWidth / 16][4];
        for (int block = 0; block < place.layout.blocks; ++block) {
          to_fragments<kTiles, kWidth>(hidden, in);
          set_bias<true, kTiles, kWidth>(head.floats(place.layout.contract_bias()) + block * kWidth, hidden);
          const float* of_step = now.conditioning + block * 2 * kWidth;
          const float* of_job = p.job_conditioning + (branch * place.layout.blocks + block) * 2 * kWidth;
#pragma unroll 1
          for (int panel = 0; panel < kWidth / 8; panel += kStagePanels) {
            const uint4* at = supply.panels(block * (kWidth / 8) + panel, branch + block + panel == 0);
#pragma unroll
            for (int i = 0; i < kStagePanels; i += kTogether) {
              const uint4* panels = at + i * panel_vectors(kWidth);
              const int feature = 16 * (panel + i);
              uint32_t expanded[kTiles][kTogether][4];
              expand<kTogether, kTiles, kWidth>(panels, of_step + feature, of_job + feature, candidates.job, in,
                                                expanded);
              contract<kTogether, kTiles, kWidth, kWidth>(panels, 0, expanded, hidden);
            }
          }
        }
        to_fragments<kTiles, kWidth>(hidden, in);
        head.output<kWidth, kDim, kTiles>(in, branch_weight(p, branch), eps);
      }
      candidates.update(p, now, step, eps);
    }
    candidates.finish(p, diverged);
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

// Of few candidates: a block each 16, as long as all blocks run at once and three on a processor at most.
template <int kWidth, int kDim>
bool launch_split(const Launch& call, cudaError_t* status) {
  static std::atomic<uint64_t> done{0};
  const int64_t bytes = call.place.size() + exchange_bytes(kWidth);
  const int64_t reserved = 1024;  // by the runtime, for every block
  const int64_t fitting = (call.limits.shared_bytes + reserved) / (bytes + reserved);
  const int64_t blocks = (call.problem.candidates + 15) / 16;
  if (!call.place.resident || blocks > call.limits.processors * (fitting < 3 ? fitting : 3)) return false;
  const auto kernel = denoise_split_kernel<kWidth, kDim>;
  *status = allow_shared_memory(kernel, call.limits.shared_bytes, call.device, &done);
  if (*status != cudaSuccess) return true;
  *status = launch(kernel, static_cast<unsigned>(blocks), 32 * split_warps(kWidth), static_cast<int>(bytes),
                   call.stream, call.problem, call.place, call.fragments, call.jobs, call.diverged);
  return true;
}

template <int kWidth, int kDim>
cudaError_t launch_width_dim(const Launch& call) {
  cudaError_t status;
  if (launch_split<kWidth, kDim>(call, &status)) return status;
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

}  // namespace diffhpo
