// SPDX-License-Identifier: Apache-2.0
// The instructions that CUDA C++ has no word for, from PTX (docs.nvidia.com/cuda/parallel-thread-execution); all
// of them there from sm_80 on. tests/kernels/cuda_emulation repeats them on the CPU, so that the kernels' own
// source runs there.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#ifdef DIFFHPO_CUDA_EMULATION
#include "emulated_intrinsics.h"
#else

#define DIFFHPO_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

namespace diffhpo {

// c += a b for one 16x16 tile of a (row by row), one 16x8 tile of b (column by column): bf16 in, fp32 sums.
// All 32 lanes together. Lane 4 g + t holds c[0], c[1]: row g, columns 2 t, 2 t + 1; c[2], c[3]: row g + 8.
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats rounded to bf16, ties to even; `low` in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// Relative error at most 2^-11, below a rounding to bf16.
__device__ __forceinline__ float approximate_tanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Copies to shared memory that arrive later; both addresses are multiples of the size. What a thread issued since
// its last commit is one group.
__device__ __forceinline__ void copy_async16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(__cvta_generic_to_global(global))
               : "memory");
}
__device__ __forceinline__ void copy_async8(void* shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(__cvta_generic_to_global(global))
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most `pending` of this thread's groups are under way. Other threads' copies need a barrier after it.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace diffhpo

#endif
