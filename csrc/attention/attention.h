// SPDX-License-Identifier: Apache-2.0
// Attention to contexts: the Transformer's encoder, and candidates that attend to its tokens (the Predictor).
//
//   a = LayerNorm(h);  h += Wo softmax((Wq a) K^T / sqrt(head width)) V + bo;  h += W2 silu(W1 LayerNorm(h) + b1) + b2
//
// Softmax by running maximum and sum over chunks of tokens (Milakov and Gimelshein 2018, arXiv 1805.02867), so no
// buffer grows with rows times tokens. A row gets the same bits whatever other rows and jobs there are, in which
// order, and however many threads.
#pragma once

#include <cstdint>

#include "attention/attention_layout.h"

namespace diffhpo {

// J contexts of different sizes, one after another, nothing padded.
struct EncodeProblem {
  EncoderLayout layout;
  int64_t jobs;           // J
  const int64_t* counts;  // [J] trials n of every context, 0 or more
  const float* weights;   // [layout.size()]
  const float* inputs;    // [sum n, d + 2] the trials' features
  float* tokens;          // [sum (n + 1), C] out; a context's anchor stands before its trials
  float* pooled;          // [J, C] out, mean of a context's tokens; may be null
  bool embedded;          // tokens hold anchors and embedded trials already, and inputs are not read
};

// N candidates for each of J contexts.
struct PredictProblem {
  PredictorLayout layout;
  int64_t jobs;                 // J
  const int64_t* token_counts;  // [J] tokens M of every context, 1 or more
  const int64_t* counts;        // [J] candidates of every context, 0 or more
  const float* weights;         // [layout.size()]
  const float* tokens;          // [sum M, C]
  const float* x;               // [sum N, d] in [0, 1]
  const float* embedded;        // [sum N, padded(W)] what to take in place of the input layer's outputs, or null
  float* logits;                // [sum N, K] out
};

}  // namespace diffhpo
