// SPDX-License-Identifier: Apache-2.0
// The threads of one block at a time as fibers of one CPU thread, switched at barriers and warp operations only,
// warp after warp in an order drawn anew every time. What breaks the rules of a GPU stops the process with a message: a
// barrier that some threads do not reach, different warp operations in one warp, a partial mask.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>


namespace emulation {

struct Index {
  unsigned x;
};
struct Indices {
  Index thread, block, threads, blocks;
};
struct Device {
  int shared_bytes, processors;
  uint32_t order;  // seed of the order of the fibers
};

Indices& indices();
Device& device();
unsigned char* dynamic_shared();
// False if a real device would refuse the launch.
bool launch(unsigned blocks, unsigned threads, int shared_bytes, const std::function<void()>& body);
[[noreturn]] void stop(const char* what);

enum class Scope { block, warp };

// Waits until all threads of the scope wait with the same `complete`, which then sees every thread's `data` in the
// order of the threads; all of them go on after it.
using Complete = void (*)(void* const* data, int threads);
void wait_for_all(Scope scope, Complete complete, void* data);

template <class Operation>
Operation meet(Scope scope, Operation data) {
  wait_for_all(
      scope,
      [](void* const* all, int threads) { Operation::complete(reinterpret_cast<Operation* const*>(all), threads); },
      &data);
  return data;
}

struct Barrier {
  static void complete(Barrier* const*, int) {}
};

struct Or {
  int value;
  static void complete(Or* const* all, int threads) {
    int any = 0;
    for (int i = 0; i < threads; ++i) any |= all[i]->value != 0;
    for (int i = 0; i < threads; ++i) all[i]->value = any;
  }
};

struct Exchange {
  uint32_t mask, value;
  int lanes;
  static void complete(Exchange* const* all, int threads) {
    uint32_t values[32];
    for (int i = 0; i < threads; ++i) {
      if (all[i]->mask != 0xFFFFFFFFu || all[i]->lanes != all[0]->lanes) stop("a shuffle of part of a warp");
      values[i] = all[i]->value;
    }
    for (int i = 0; i < threads; ++i) all[i]->value = values[i ^ all[i]->lanes];
  }
};

// Copies that a thread has issued and that arrive when it waits for them: until then shared memory is as it was.
void copy_later(void* to, const void* from, size_t bytes);
void commit_copies();
void wait_for_copies(size_t pending_groups);

}  // namespace emulation
