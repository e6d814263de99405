// SPDX-License-Identifier: Apache-2.0
// What a block of the bf16 loop reads, on its way to shared memory by cp.async while the tensor cores work: the
// weights once and for all, or, where a network does not fit, stage by stage through a ring; and the conditioning,
// coefficients and noise key of the step ahead.
//
// Shared memory: [input and output layer, biases][2 steps][panels of all blocks, or kStages stages].
#pragma once

#include "cuda/cuda_intrinsics.h"
#include "denoise/denoise.h"
#include "cuda/fragment_layout.h"

namespace diffhpo {
namespace {

constexpr int kStages = 3;
constexpr int kStagePanels = 2;
// A step's data is brought with the first stage of the step before it, and waited for as that stage's group is:
// there must be a wait in between, also in the network of the fewest panels.
static_assert(32 / 8 / kStagePanels >= kStages - 1, "a step must have at least kStages - 1 stages");

struct SharedPlacement {
  FragmentLayout layout;
  bool resident;  // all panels stay; otherwise they stream

  DIFFHPO_INLINE int64_t conditioning_bytes() const { return layout.blocks * 2 * layout.width * 4; }
  // [blocks, 2W] float, 5 double, 1 int64
  DIFFHPO_INLINE int64_t step_bytes() const { return conditioning_bytes() + 48; }
  DIFFHPO_INLINE int64_t head_bytes() const { return layout.panels() * 16; }
  DIFFHPO_INLINE int64_t panels_at() const { return head_bytes() + 2 * step_bytes(); }
  DIFFHPO_INLINE int64_t held_panels() const {
    return resident ? layout.blocks * layout.block_panels() : kStages * kStagePanels;
  }
  DIFFHPO_INLINE int64_t size() const { return panels_at() + held_panels() * layout.panel_vectors() * 16; }
};

struct StepView {
  const float* conditioning;   // [blocks, 2W]
  const double* coefficients;  // [5]
  const int64_t* key;
};

// Every thread of the block makes the same calls in the same order.
class Supply {
 public:
  // `steps`: how many steps this block runs, over all its candidates; `p.steps` of them repeat.
  __device__ Supply(const DenoiseProblem& p, const SharedPlacement& place, const uint4* fragments,
                    unsigned char* shared, int64_t steps)
      : p_(p), place_(place), fragments_(fragments), shared_(shared), steps_left_(steps) {
    const int64_t vectors = place.layout.panels();
    copy(shared, fragments, vectors);
    if (place.resident) copy(shared + place.panels_at(), fragments + vectors, place.layout.size() - vectors);
    bring_step();
    for (int stage = 0; stage < kStages - 1; ++stage) {
      if (!place.resident && steps > 0) bring_stage();
      copy_async_commit();
    }
    copy_async_wait<0>();
    __syncthreads();
  }

  // Called before every kStagePanels panels, `panel` the first of them in the network; `first` of a step.
  // Returns where they lie.
  __device__ const uint4* panels(int64_t panel, bool first) {
    if (place_.resident) {
      if (first) {
        copy_async_wait<0>();
        __syncthreads();
        bring_step();
        copy_async_commit();
      }
      return reinterpret_cast<const uint4*>(shared_ + place_.panels_at()) + panel * place_.layout.panel_vectors();
    }
    copy_async_wait<kStages - 2>();
    // Everyone's part of this stage is there, and everyone is done with the stage and the step before.
    __syncthreads();
    bring_stage();
    if (first) bring_step();
    copy_async_commit();
    const uint4* at = stage_at(read_stage_);
    read_stage_ = read_stage_ + 1 == kStages ? 0 : read_stage_ + 1;
    return at;
  }

  // Before the block ends: no copy into its shared memory may be under way then.
  __device__ void finish() const { copy_async_wait<0>(); }

  // The next step to run; readable once the step's first panels were asked for.
  __device__ StepView next_step() {
    const unsigned char* at = step_at(read_step_);
    read_step_ ^= 1;
    const auto* coefficients = reinterpret_cast<const double*>(at + place_.conditioning_bytes());
    return {reinterpret_cast<const float*>(at), coefficients, reinterpret_cast<const int64_t*>(coefficients + 5)};
  }

 private:
  __device__ unsigned char* step_at(int slot) const {
    return shared_ + place_.head_bytes() + slot * place_.step_bytes();
  }
  __device__ uint4* stage_at(int slot) const {
    return reinterpret_cast<uint4*>(shared_ + place_.panels_at()) +
           slot * kStagePanels * place_.layout.panel_vectors();
  }

  __device__ static void copy(void* to, const void* from, int64_t vectors) {
    for (int64_t i = threadIdx.x; i < vectors; i += blockDim.x) {
      copy_async16(static_cast<uint4*>(to) + i, static_cast<const uint4*>(from) + i);
    }
  }

  // The stage after the last one brought; the network's first follows its last, also at the block's end, where
  // kStages - 1 of them are brought for nobody.
  __device__ void bring_stage() {
    const int64_t vectors = kStagePanels * place_.layout.panel_vectors();
    const int64_t stages = place_.layout.blocks * place_.layout.block_panels() / kStagePanels;
    copy(stage_at(write_stage_), fragments_ + place_.layout.panels() + stage_ * vectors, vectors);
    stage_ = stage_ + 1 == stages ? 0 : stage_ + 1;
    write_stage_ = write_stage_ + 1 == kStages ? 0 : write_stage_ + 1;
  }

  __device__ void bring_step() {
    if (steps_left_ == 0) return;
    --steps_left_;
    unsigned char* to = step_at(write_step_);
    const int64_t step = step_, floats = place_.conditioning_bytes() / 4;
    copy(to, p_.step_conditioning + step * floats, floats / 4);
    double* coefficients = reinterpret_cast<double*>(to + place_.conditioning_bytes());
    if (threadIdx.x < 5) copy_async8(coefficients + threadIdx.x, p_.coefficients + 5 * step + threadIdx.x);
    if (threadIdx.x == 5) copy_async8(coefficients + 5, p_.keys + 1 + step);
    step_ = step_ + 1 == p_.steps ? 0 : step_ + 1;
    write_step_ ^= 1;
  }

  const DenoiseProblem& p_;
  const SharedPlacement& place_;
  const uint4* const fragments_;
  unsigned char* const shared_;
  int64_t steps_left_;
  int step_ = 0, stage_ = 0;  // that are brought next
  int write_step_ = 0, read_step_ = 0, write_stage_ = 0, read_stage_ = 0;  // slots
};

}  // namespace
}  // namespace diffhpo
