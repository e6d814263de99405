// SPDX-License-Identifier: Apache-2.0
// The fused reverse loop: all S steps of N candidates of J jobs in one call.
//
//   eps    = network(x_t, conditioning, tokens);  with guidance w: (1 + w) eps_0 - w eps_1 over two branches
//   x0_hat = x0_from_x x_t - x0_from_eps eps, clipped to [-1, 1] if asked
//   x_prev = x0_weight x0_hat + x_weight x_t + sigma z          (Ho et al. 2020, eq. 6 and 7; DDIM: sigma = 0)
//
// Candidate i of a seed gets the same bits whatever the batch, the order of the jobs and the number of threads.
#pragma once

#include <cstdint>

#include "denoise/network_layout.h"
#include "denoise/precision.h"

namespace diffhpo {

struct KeyValues;

struct DenoiseProblem {
  NetworkLayout layout;             // d, W, B
  int64_t steps;                    // S
  int64_t jobs;                     // J
  int64_t branches;                 // 1, or 2 with guidance
  int64_t candidates;               // N, the sum of counts
  Precision precision;              // of the products in the residual blocks
  const float* weights;             // [layout.size()]
  const uint8_t* coded;             // [CodedLayout.size()] bytes, aligned to 4; null at fp32
  const float* step_conditioning;   // [S, B, 2W] of the timestep, with the bias of expand
  const float* job_conditioning;    // [J, branches, B, 2W] of flag and context
  const double* coefficients;       // [S, 5] x0_from_x, x0_from_eps, x0_weight, x_weight, sigma
  const int64_t* keys;              // [S + 1] in [0, 2^32): key of the initial noise, then of every step
  const int64_t* counts;            // [J] candidates of every job
  const int64_t* seeds;             // [J] the bits of a 64-bit seed
  const int64_t* first_candidates;  // [J]
  float guidance;                   // w
  bool clip;
  const float* tokens;              // [sum token_counts, B, 2, W] keys and values (token_panels.h); null for none
  const int64_t* token_counts;      // [J] tokens n of every job, 0 or more; null for none
  const KeyValues* key_values;      // [J, B] the same in panels, which denoise_cpu makes
  float* x;                         // [N, d] out, x_0 in the scaled space
};

constexpr int64_t kNotDiverged = INT64_MAX;

}  // namespace diffhpo
