// SPDX-License-Identifier: Apache-2.0
// The reverse loop on a CUDA device in fp32: one launch, a block keeps its candidates in shared memory through all
// steps.
//
// Every output is one chain of fmaf over ascending inputs, whichever block, warp or row computes it: a candidate's
// bits do not depend on the batch.

#include "cuda/cuda_intrinsics.h"
#include "cuda/cuda_launch.h"
#include "cuda/denoise_cuda.h"
#include "cuda/denoise_cuda_rows.h"
#include "noise/philox.h"

namespace diffhpo {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kGroupRows = 4;  // rows that a warp computes at once, so that a weight read serves several
constexpr int kMaxRows = 16;   // rows of a block

// Shared memory of a block, in floats.
struct BlockLayout {
  NetworkLayout network;
  int rows;
  bool weights;  // whether the weights fit, too

  DIFFHPO_INLINE int64_t x() const { return weights ? network.size() : 0; }                        // [rows, padded(d)]
  DIFFHPO_INLINE int64_t eps() const { return x() + rows * padded(network.dim); }                // [2, rows, padded(d)]
  DIFFHPO_INLINE int64_t hidden() const { return eps() + 2 * rows * padded(network.dim); }         // [rows, padded(W)]
  DIFFHPO_INLINE int64_t expanded() const { return hidden() + rows * padded(network.width); }      // [rows, padded(2W)]
  DIFFHPO_INLINE int64_t size() const { return expanded() + rows * padded(2 * network.width); }
};

__device__ inline float silu(float x) { return __fdiv_rn(x, 1.0f + expf(-x)); }

enum class Layer { plain, expand, residual };

// out[row] = activation(initial + W in[row]); a warp's lanes are the 32 outputs of a panel.
template <Layer kind>
__device__ void dense(const float* weights, const float* initial, const float* of_jobs, int64_t job_stride,
                      const Row* rows, int count, int64_t inputs, int64_t in_stride, int64_t outputs, const float* in,
                      float* out) {
  const int lane = threadIdx.x % 32;
  const int groups = (count + kGroupRows - 1) / kGroupRows;
  const int64_t out_stride = padded(outputs);
  for (int64_t task = threadIdx.x / 32; task < panels(outputs) * groups; task += kWarps) {
    const int64_t panel = task / groups;
    const int first = static_cast<int>(task % groups) * kGroupRows;
    const int64_t j = panel * kPanel + lane;
    const float* w = weights + panel * inputs * kPanel + lane;
    const float* at = in + first * in_stride;
    float sum[kGroupRows];
    for (int r = 0; r < kGroupRows; ++r) {
      // Rows beyond the last compute on whatever lies there, inside the block's memory, and are not stored.
      sum[r] = kind == Layer::expand ? 0.0f : initial[j];
      if (kind == Layer::expand && j < outputs && first + r < count) {
        sum[r] = initial[j] + of_jobs[rows[first + r].job * job_stride + j];
      }
    }
    for (int64_t k = 0; k < inputs; ++k) {
      const float weight = w[k * kPanel];
      for (int r = 0; r < kGroupRows; ++r) sum[r] = fmaf(at[r * in_stride + k], weight, sum[r]);
    }
    for (int r = 0; r < kGroupRows; ++r) {
      if (first + r >= count) break;
      float* to = out + (first + r) * out_stride + j;
      if (kind == Layer::plain) *to = sum[r];
      if (kind == Layer::expand) *to = silu(sum[r]);
      if (kind == Layer::residual) *to += sum[r];
    }
  }
  __syncthreads();
}

__device__ void predict(const DenoiseProblem& p, const BlockLayout& layout, const float* weights, float* shared,
                        const Row* rows, int count, int64_t step, int64_t branch) {
  const NetworkLayout& net = p.layout;
  const int64_t width = net.width, wide = 2 * width, per_branch = net.blocks * wide;
  float* hidden = shared + layout.hidden();
  float* expanded = shared + layout.expanded();
  dense<Layer::plain>(weights + net.input_weight(), weights + net.input_bias(), nullptr, 0, rows, count, net.dim,
                      padded(net.dim), width, shared + layout.x(), hidden);
  for (int64_t b = 0; b < net.blocks; ++b) {
    dense<Layer::expand>(weights + net.expand_weight(b), p.step_conditioning + (step * net.blocks + b) * wide,
                         p.job_conditioning + branch * per_branch + b * wide, p.branches * per_branch, rows, count,
                         width, padded(width), wide, hidden, expanded);
    dense<Layer::residual>(weights + net.contract_weight(b), weights + net.contract_bias(b), nullptr, 0, rows, count,
                           wide, padded(wide), width, expanded, hidden);
  }
  dense<Layer::plain>(weights + net.output_weight(), weights + net.output_bias(), nullptr, 0, rows, count, width,
                      padded(width), net.dim, hidden, shared + layout.eps() + branch * layout.rows * padded(net.dim));
}

__device__ void draw(const Row& row, int64_t group, int64_t key, float z[4]) {
  normal4<float, uint32_t, int32_t>(static_cast<uint32_t>(group), static_cast<uint32_t>(key),
                                    static_cast<uint32_t>(row.candidate), static_cast<uint32_t>(row.candidate >> 32),
                                    row.seed, z);
}

// x_t -> x_prev of every row; true in a thread that met a value that is not finite.
__device__ bool update(const DenoiseProblem& p, const BlockLayout& layout, float* shared, const Row* rows, int count,
                       int64_t step) {
  const int64_t dim = p.layout.dim, stride = padded(dim), groups = (dim + 3) / 4;
  const double* c = p.coefficients + 5 * step;
  const float x0_weight = static_cast<float>(c[2]), x_weight = static_cast<float>(c[3]);
  const float sigma = static_cast<float>(c[4]);
  bool bad = false;
  for (int64_t i = threadIdx.x; i < count * groups; i += kThreads) {
    const int64_t row = i / groups, group = i % groups;
    float z[4] = {};
    if (sigma != 0.0f) draw(rows[row], group, p.keys[1 + step], z);
    for (int word = 0; word < 4 && 4 * group + word < dim; ++word) {
      const int64_t at = row * stride + 4 * group + word;
      float eps = shared[layout.eps() + at];
      if (p.branches == 2) {
        const float without = shared[layout.eps() + layout.rows * stride + at];
        eps = (1.0f + p.guidance) * eps - p.guidance * without;
      }
      float* x = shared + layout.x() + at;
      // Few elements, and a small difference of large products: float64 costs nothing that matters here.
      float x0 = static_cast<float>(c[0] * *x - c[1] * eps);
      if (p.clip) x0 = fminf(fmaxf(x0, -1.0f), 1.0f);
      float next = fmaf(x0, x0_weight, *x * x_weight);
      if (sigma != 0.0f) next = fmaf(z[word], sigma, next);
      bad |= !isfinite(eps) || !isfinite(next);
      *x = next;
    }
  }
  return bad;
}

__global__ void __launch_bounds__(kThreads, 1) denoise_kernel(DenoiseProblem p, BlockLayout layout, const int64_t* jobs,
                                                           int64_t* diverged) {
  DIFFHPO_DYNAMIC_SHARED(bytes);
  float* const shared = reinterpret_cast<float*>(bytes);
  __shared__ Row rows[kMaxRows];
  const int64_t dim = p.layout.dim, stride = padded(dim), groups = (dim + 3) / 4;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * layout.rows;
  const int count = static_cast<int>(min(static_cast<int64_t>(layout.rows), p.candidates - first));

  if (layout.weights) {
    for (int64_t i = threadIdx.x; i < p.layout.size(); i += kThreads) shared[i] = p.weights[i];
  }
  for (int64_t i = layout.x() + threadIdx.x; i < layout.size(); i += kThreads) shared[i] = 0.0f;
  if (static_cast<int>(threadIdx.x) < count) {
    rows[threadIdx.x] = find_row(jobs, p.jobs, first + threadIdx.x);
  }
  __syncthreads();
  const float* weights = layout.weights ? shared : p.weights;

  for (int64_t i = threadIdx.x; i < count * groups; i += kThreads) {
    float z[4];
    draw(rows[i / groups], i % groups, p.keys[0], z);
    for (int word = 0; word < 4 && 4 * (i % groups) + word < dim; ++word) {
      shared[layout.x() + i / groups * stride + 4 * (i % groups) + word] = z[word];
    }
  }
  __syncthreads();
  for (int64_t step = 0; step < p.steps; ++step) {
    for (int64_t branch = 0; branch < p.branches; ++branch) {
      predict(p, layout, weights, shared, rows, count, step, branch);
    }
    if (__syncthreads_or(update(p, layout, shared, rows, count, step))) {
      if (threadIdx.x == 0) atomicMin(reinterpret_cast<long long*>(diverged), static_cast<long long>(step));
      return;
    }
  }
  for (int64_t i = threadIdx.x; i < count * dim; i += kThreads) {
    p.x[first * dim + i] = shared[layout.x() + i / dim * stride + i % dim];
  }
}

// The largest block that fits: the weights in shared memory if they can be, then as many rows as there is room for.
bool choose_layout(const NetworkLayout& network, int64_t limit, BlockLayout* layout) {
  for (bool weights : {true, false}) {
    for (int rows = kMaxRows; rows >= kGroupRows; rows /= 2) {
      *layout = {network, rows, weights};
      if (layout->size() * static_cast<int64_t>(sizeof(float)) <= limit) return true;
    }
  }
  return false;
}

}  // namespace

std::string denoise_cuda(const DenoiseProblem& problem, const int64_t* jobs, int64_t* diverged, int device,
                         uintptr_t stream) {
  if (problem.candidates == 0) return "";
  const DeviceGuard guard(device);
  DeviceLimits limits;
  cudaError_t status = guard.status();
  if (status == cudaSuccess) status = read_limits(device, &limits);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  const int limit = limits.shared_bytes - static_cast<int>(sizeof(Row)) * kMaxRows;
  BlockLayout layout{};
  if (!choose_layout(problem.layout, limit, &layout)) {
    return "the network is too wide for the shared memory of this device";
  }
  const int64_t blocks = (problem.candidates + layout.rows - 1) / layout.rows;
  if (blocks > INT32_MAX) return "too many candidates for one launch";
  if (problem.jobs > INT32_MAX) return "too many jobs for one launch";
  static std::atomic<uint64_t> done{0};
  status = allow_shared_memory(denoise_kernel, limit, device, &done);
  if (status == cudaSuccess) {
    const int bytes = static_cast<int>(layout.size() * static_cast<int64_t>(sizeof(float)));
    status = launch(denoise_kernel, static_cast<unsigned>(blocks), kThreads, bytes,
                    reinterpret_cast<cudaStream_t>(stream), problem, layout, jobs, diverged);
  }
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

}  // namespace diffhpo
