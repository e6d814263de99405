// SPDX-License-Identifier: Apache-2.0
#include "fibers.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "stack_switch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SWITCH_TO(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define SWITCHED(save, bottom, size) __sanitizer_finish_switch_fiber(save, bottom, size)
#else
#define SWITCH_TO(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define SWITCHED(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#endif

namespace emulation {
namespace {

constexpr size_t kStackBytes = 64 << 10;

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Fiber {
  Context context;
  char* stack = nullptr;
  bool finished = false, waiting = false;
  Scope scope{};
  Complete complete{};
  void* data{};
  std::vector<std::vector<Copy>> groups{1};  // the last one is not committed yet
};

Indices the_indices;
Device the_device;
std::vector<Fiber> fibers;
std::vector<unsigned char*> shared_of_block;
Context scheduler;
void* scheduler_fake_stack = nullptr;
const void* scheduler_bottom = nullptr;
size_t scheduler_size = 0;
const std::function<void()>* kernel = nullptr;
std::mt19937 order;

Fiber& current() { return fibers[the_indices.thread.x]; }

void leave(bool last) {
  Fiber& fiber = current();
  void* fake_stack = nullptr;
  SWITCH_TO(last ? nullptr : &fake_stack, scheduler_bottom, scheduler_size);
  change_stack(&fiber.context, &scheduler);
  SWITCHED(fake_stack, &scheduler_bottom, &scheduler_size);
}

void enter() {
  SWITCHED(nullptr, &scheduler_bottom, &scheduler_size);
  (*kernel)();
  Fiber& fiber = current();
  for (const auto& group : fiber.groups) {
    if (!group.empty()) stop("a thread ended with copies under way");
  }
  fiber.finished = true;
  leave(true);
}

// Completes the operation that fibers [first, last) wait for; false if not all wait.
bool complete(size_t first, size_t last) {
  std::vector<void*> data;
  for (size_t i = first; i < last; ++i) {
    if (!fibers[i].waiting) return false;
    if (fibers[i].complete != fibers[first].complete) return false;
    data.push_back(fibers[i].data);
  }
  fibers[first].complete(data.data(), static_cast<int>(data.size()));
  for (size_t i = first; i < last; ++i) fibers[i].waiting = false;
  return true;
}

// Each fiber of a warp up to where it waits, then the operation that all wait for; false if none could run.
bool run_warp(unsigned first) {
  unsigned lanes[32];
  std::iota(lanes, lanes + 32, first);
  std::shuffle(lanes, lanes + 32, order);
  bool moved = false;
  for (unsigned i : lanes) {
    Fiber& fiber = fibers[i];
    if (fiber.finished || fiber.waiting) continue;
    the_indices.thread.x = i;
    SWITCH_TO(&scheduler_fake_stack, fiber.stack, kStackBytes);
    change_stack(&scheduler, &fiber.context);
    SWITCHED(scheduler_fake_stack, nullptr, nullptr);
    moved = true;
  }
  if (fibers[first].waiting && fibers[first].scope == Scope::warp) moved |= complete(first, first + 32);
  return moved;
}

void run_block(unsigned threads) {
  static std::vector<std::unique_ptr<char[]>> stacks;  // of all blocks, one after another
  while (stacks.size() < threads) stacks.emplace_back(new char[kStackBytes]);
  fibers = std::vector<Fiber>(threads);
  for (size_t i = 0; i < threads; ++i) {
    fibers[i].stack = stacks[i].get();
    fibers[i].context.start(fibers[i].stack, kStackBytes, enter);
  }
  std::vector<unsigned> warps(threads / 32);
  std::iota(warps.begin(), warps.end(), 0u);
  for (;;) {
    // A warp runs until it waits for the block, before the next one starts: as far apart as a device could let
    // them be, so that a missing barrier shows.
    std::shuffle(warps.begin(), warps.end(), order);
    bool moved = false;
    for (unsigned warp : warps) {
      while (run_warp(32 * warp)) moved = true;
    }
    if (std::all_of(fibers.begin(), fibers.end(), [](const Fiber& fiber) { return fiber.finished; })) return;
    if (fibers[0].waiting && fibers[0].scope == Scope::block) moved |= complete(0, threads);
    if (!moved) stop("some threads wait for others that wait elsewhere or have ended");
  }
}

}  // namespace

Indices& indices() { return the_indices; }
Device& device() { return the_device; }
unsigned char* dynamic_shared() { return shared_of_block.back(); }

void stop(const char* what) {
  std::fprintf(stderr, "emulation: %s (block %u, thread %u)\n", what, the_indices.block.x, the_indices.thread.x);
  std::_Exit(3);
}

void wait_for_all(Scope scope, Complete complete, void* data) {
  Fiber& fiber = current();
  fiber.scope = scope;
  fiber.complete = complete;
  fiber.data = data;
  fiber.waiting = true;
  leave(false);
}

void copy_later(void* to, const void* from, size_t bytes) {
  const uintptr_t misaligned = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
  if (misaligned % bytes != 0) stop("a copy is not aligned");
  current().groups.back().push_back({to, from, bytes});
}

void commit_copies() { current().groups.emplace_back(); }

void wait_for_copies(size_t pending_groups) {
  auto& groups = current().groups;
  if (pending_groups == 0 && !groups.back().empty()) groups.emplace_back();
  while (groups.size() - 1 > pending_groups) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    groups.erase(groups.begin());
  }
}

bool launch(unsigned blocks, unsigned threads, int shared_bytes, const std::function<void()>& body) {
  if (blocks == 0 || blocks > 0x7FFFFFFFu || threads == 0 || threads > 1024 || threads % 32 != 0 ||
      shared_bytes > the_device.shared_bytes) {
    return false;
  }
  order.seed(the_device.order);
  kernel = &body;
  the_indices.threads.x = threads;
  the_indices.blocks.x = blocks;
  for (unsigned block = 0; block < blocks; ++block) {
    // From the heap and of the exact size, so that AddressSanitizer sees an access beyond it; filled with NaN.
    auto* shared = static_cast<unsigned char*>(std::aligned_alloc(16, std::max(16, (shared_bytes + 15) / 16 * 16)));
    std::memset(shared, 0xFF, std::max(16, shared_bytes));
    shared_of_block.push_back(shared);
    the_indices.block.x = block;
    run_block(threads);
    shared_of_block.pop_back();
    std::free(shared);
  }
  return true;
}

}  // namespace emulation
