// SPDX-License-Identifier: Apache-2.0
// The reverse loop on a CUDA device, in fp32: all steps in one launch.
#pragma once

#include <cstdint>
#include <string>

#include "denoise.h"

namespace diffhpo {

// Pointers of `problem` are on `device`, but counts, seeds and first_candidates, which are on the host and were
// checked there; `jobs` [J, 3] on the device holds (first row of x, seed, first candidate) of every job.
// `diverged` [1] on the device, set to kNotDiverged by the caller, receives the first step that was not finite.
// Only launches work on `stream`; allocates nothing. Returns an empty string, or what went wrong.
std::string denoise_cuda(const DenoiseProblem& problem, const int64_t* jobs, int64_t* diverged, int device,
                         uintptr_t stream);

}  // namespace diffhpo
