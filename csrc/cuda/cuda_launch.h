// SPDX-License-Identifier: Apache-2.0
// The host's side of a kernel: device, limits, launch. Every function says what went wrong as a cudaError_t.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>

namespace diffhpo {
namespace {

// Makes a device current and puts the previous one back.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) : status_(cudaGetDevice(&previous_)) {
    changed_ = status_ == cudaSuccess && device != previous_;
    if (changed_) status_ = cudaSetDevice(device);
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  cudaError_t status() const { return status_; }

 private:
  int previous_ = 0;
  bool changed_ = false;
  cudaError_t status_;
};

struct DeviceLimits {
  int shared_bytes = 0;  // dynamic shared memory that one block may ask for
  int processors = 0;
};

inline cudaError_t read_limits(int device, DeviceLimits* limits) {
  cudaError_t status = cudaDeviceGetAttribute(&limits->shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (status != cudaSuccess) return status;
  return cudaDeviceGetAttribute(&limits->processors, cudaDevAttrMultiProcessorCount, device);
}

// Lets a kernel ask for all the shared memory of `device` that its static use leaves, once for each device.
// `done` belongs to the kernel: bit i says that device i is set. A device from 64 on is set at every call.
template <class Kernel>
cudaError_t allow_shared_memory(Kernel* kernel, int bytes, int device, std::atomic<uint64_t>* done) {
  const uint64_t bit = device < 64 ? uint64_t{1} << device : 0;
  if (done->load(std::memory_order_acquire) & bit) return cudaSuccess;
  const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (status == cudaSuccess) done->fetch_or(bit, std::memory_order_release);
  return status;
}

// kernel<<<blocks, threads, shared_bytes, stream>>>(arguments...): the one place that launches.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, int shared_bytes,
                   cudaStream_t stream, Arguments... arguments) {
#ifdef DIFFHPO_CUDA_EMULATION
  (void)stream;
  const bool accepted = emulation::launch(blocks, threads, shared_bytes, [&] { kernel(arguments...); });
  return accepted ? cudaSuccess : cudaErrorInvalidValue;
#else
  kernel<<<blocks, threads, shared_bytes, stream>>>(arguments...);
  return cudaGetLastError();
#endif
}

}  // namespace
}  // namespace diffhpo
