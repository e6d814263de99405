// SPDX-License-Identifier: Apache-2.0
// Independent items of work over threads that live for one call.
//
// A loop takes milliseconds, a thread start ten microseconds, and nothing is left behind that could meet torch's
// own threads or a fork.
#pragma once

#include <cstdint>
#include <functional>

namespace diffhpo {

// Asked often while an item is worked on; true ends it early.
struct StopSignal {
  bool (*stopped)(void* state);
  void* state;
};

// `scratch` is the thread's own: `scratch_floats` floats, aligned to 64 bytes, of which the first `zero_floats` are
// zero before its first item.
using Work = std::function<void(int64_t item, float* scratch, StopSignal stop)>;

// Works on items [0, items) on `threads` threads, the caller's among them. `interrupted` is asked by the caller's
// thread alone, about 50 times a second as long as items ask their StopSignal; once it says true no further item
// begins, and the call returns true: the output is unfinished. All of the scratch is zero unless `zero_floats` says
// less, which saves touching memory that may never be used.
bool run_on_threads(int64_t items, int threads, int64_t scratch_floats, StopSignal interrupted, const Work& work,
                    int64_t zero_floats = INT64_MAX);

}  // namespace diffhpo
