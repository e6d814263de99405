// SPDX-License-Identifier: Apache-2.0
// The universal model's kernels. Compiled once per ISA into the namespace DIFFHPO_ISA.

#include "universal/universal_cpu.h"

#include "universal/context_codes.h"
#include "universal/corrected_mixture.h"
#include "universal/kernel_points.h"

#ifndef DIFFHPO_ISA
#define DIFFHPO_ISA portable
#endif

namespace diffhpo {
namespace DIFFHPO_ISA {

void embed_trials(const UniversalEncoderLayout& layout, const float* w, const PresentContext& context,
                  const EmbedScratch& s) {
  first_codes_and_tokens(layout, w, context, s);
}

void finish_codes(const UniversalEncoderLayout& layout, const float* w, const PresentContext& context,
                  const EmbedScratch& s) {
  last_codes_and_tokens(layout, w, context, s);
}

void kernel_space(const KernelSpaceProblem& p, int64_t context, float* scratch) {
  read_kernel_space(p, context, scratch);
}

void prepare_points(const PointsProblem& p, int64_t context, const PointsScratch& s) {
  write_point_layers(p, context, s);
}

void place_points(const PointsProblem& p, int64_t context, int64_t first, int64_t rows, const PointsScratch& s) {
  place_tile_of_points(p, context, first, rows, s);
}

void see_posterior(const CorrectProblem& p, int64_t context, float* seen, float* embedded) {
  embed_posterior(p, context, seen, embedded);
}

void correct_mixture(const CorrectProblem& p, int64_t context, const float* corrections) {
  apply_corrections(p, context, corrections);
}

}  // namespace DIFFHPO_ISA
}  // namespace diffhpo
