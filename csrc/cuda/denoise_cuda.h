// SPDX-License-Identifier: Apache-2.0
// The reverse loop on a CUDA device: all steps in one launch.
//
// Pointers of `problem` are on `device`, but counts, seeds and first_candidates, which are on the host and were
// checked there; `jobs` [J, 3] on the device holds (first row of x, seed, first candidate) of every job.
// `diverged` [1] on the device, set to kNotDiverged by the caller, receives the first step that was not finite.
// The functions only launch work on `stream` and allocate nothing, so that a CUDA graph can capture them. They
// return an empty string, or what went wrong.
#pragma once

#include <cstdint>
#include <string>

#include "denoise/denoise.h"

namespace diffhpo {

// In fp32; any network whose activations fit the device's shared memory.
std::string denoise_cuda(const DenoiseProblem& problem, const int64_t* jobs, int64_t* diverged, int device,
                         uintptr_t stream);

// In bf16 on the tensor cores, with fp32 sums and update; W of 32, 64, 96 or 128, d up to 64, compute capability
// 8.0. `problem.coded` is what arrange_cuda wrote; it, step_conditioning and job_conditioning start at multiples of
// 16 bytes.
std::string denoise_cuda_bf16(const DenoiseProblem& problem, const int64_t* jobs, int64_t* diverged, int device,
                              uintptr_t stream);

// fp32 panels (network_layout.h) -> bf16 fragments (fragment_layout.h), both on the device.
std::string arrange_cuda(const NetworkLayout& network, const float* weights, uint8_t* fragments, int device,
                         uintptr_t stream);

}  // namespace diffhpo
