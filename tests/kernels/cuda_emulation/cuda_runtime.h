// SPDX-License-Identifier: Apache-2.0
// As much of the CUDA runtime as the kernels use, on the CPU: found in place of the real header when the tests
// compile csrc/cuda/*.cu with a C++ compiler. One thread of a block is one fiber (fibers.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>

#include "fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after another

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

#define threadIdx (emulation::indices().thread)
#define blockIdx (emulation::indices().block)
#define blockDim (emulation::indices().threads)
#define gridDim (emulation::indices().blocks)

using std::isfinite;
using std::min;

inline float __fdiv_rn(float a, float b) { return a / b; }

inline void __syncthreads() { emulation::meet<emulation::Barrier>(emulation::Scope::block, {}); }

inline int __syncthreads_or(int predicate) {
  return emulation::meet<emulation::Or>(emulation::Scope::block, {predicate}).value;
}

inline uint32_t __shfl_xor_sync(uint32_t mask, uint32_t value, int lanes) {
  return emulation::meet<emulation::Exchange>(emulation::Scope::warp, {mask, value, lanes}).value;
}

// Fibers never run at the same time.
inline long long atomicMin(long long* address, long long value) {
  const long long old = *address;
  *address = std::min(old, value);
  return old;
}

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = struct EmulatedStream*;

inline const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "success" : "invalid value";
}
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const emulation::Device& device = emulation::device();
  *value = attribute == cudaDevAttrMultiProcessorCount ? device.processors : device.shared_bytes;
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return bytes <= emulation::device().shared_bytes ? cudaSuccess : cudaErrorInvalidValue;
}
