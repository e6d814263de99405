// SPDX-License-Identifier: Apache-2.0
// Keys and values of the context tokens that the blocks attend to, in panels. Both are per job and block, not per
// candidate, step or guidance branch. Query and output matrices are folded into them before they come here:
//
//   h += Wo softmax((Wq h)(Wk c)^T / sqrt(W)) Wv c = softmax(h K^T log 2) V
//
// with K = log2(e) / sqrt(W) c Wk^T Wq (scores to base 2) and V = c Wv^T Wo^T, W features each. A candidate then
// needs 2 n W multiplications instead of 2 n W + 2 W^2.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attention/attention_cpu.h"
#include "denoise/denoise.h"

namespace diffhpo {

// One head as wide as the residual stream, which is its own query.
DIFFHPO_INLINE BlockLayout cross_attention_layout(int64_t width) { return {width, width, 1, false, false}; }

class TokenPanels {
 public:
  explicit TokenPanels(const DenoiseProblem& problem);

  // [J, B]; null where the problem has no tokens.
  const KeyValues* key_values() const { return places_.empty() ? nullptr : places_.data(); }

 private:
  std::unique_ptr<float[]> memory_;
  std::vector<KeyValues> places_;
};

}  // namespace diffhpo
