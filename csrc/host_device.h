// SPDX-License-Identifier: Apache-2.0
// Functions that are compiled into their caller, on host and device. A CPU kernel is built once per ISA: a
// shared out-of-line copy of such a function would run AVX-512 code on every machine.
#pragma once

#ifdef __CUDACC__
#define DIFFHPO_INLINE __host__ __device__ __forceinline__
#else
#define DIFFHPO_INLINE inline __attribute__((always_inline))
#endif
