// SPDX-License-Identifier: Apache-2.0
#include "cpu/worker_threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace diffhpo {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(20);

struct FreeAligned {
  void operator()(float* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};

struct Run {
  Run(int64_t items, StopSignal interrupted, const Work& work) : items(items), interrupted(interrupted), work(work) {}

  const int64_t items;
  const StopSignal interrupted;
  const Work& work;
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable worker_done;
  int working = 0;  // guarded by mutex
  std::chrono::steady_clock::time_point polled = std::chrono::steady_clock::now();
};

bool worker_stopped(void* state) { return static_cast<Run*>(state)->stop.load(std::memory_order_relaxed); }

// The caller's thread alone asks `interrupted`, which may need the interpreter.
bool caller_stopped(void* state) {
  Run& run = *static_cast<Run*>(state);
  const auto now = std::chrono::steady_clock::now();
  if (now - run.polled > kPollInterval) {
    if (run.interrupted.stopped(run.interrupted.state)) run.stop.store(true, std::memory_order_relaxed);
    run.polled = std::chrono::steady_clock::now();
  }
  return run.stop.load(std::memory_order_relaxed);
}

void take_items(Run& run, float* scratch, StopSignal stop) {
  for (int64_t i; (i = run.next.fetch_add(1)) < run.items && !stop.stopped(stop.state);) run.work(i, scratch, stop);
}

void work_as_worker(Run& run, float* scratch) {
  take_items(run, scratch, {worker_stopped, &run});
  const std::lock_guard<std::mutex> lock(run.mutex);
  --run.working;
  run.worker_done.notify_one();
}

// The caller keeps answering signals while the workers finish their last items.
void wait_for_workers(Run& run) {
  std::unique_lock<std::mutex> lock(run.mutex);
  while (!run.worker_done.wait_for(lock, kPollInterval, [&run] { return run.working == 0; })) {
    lock.unlock();
    caller_stopped(&run);
    lock.lock();
  }
}

}  // namespace

bool run_on_threads(int64_t items, int threads, int64_t scratch_floats, StopSignal interrupted, const Work& work,
                    int64_t zero_floats) {
  Run run(items, interrupted, work);
  const int used = static_cast<int>(std::min<int64_t>(items, std::max(1, threads)));
  if (used == 0) return false;
  const int64_t stride = (scratch_floats + 15) / 16 * 16;
  std::unique_ptr<float[], FreeAligned> scratch(
      static_cast<float*>(::operator new[](sizeof(float) * stride * used, std::align_val_t(64))));
  for (int thread = 0; thread < used; ++thread) {
    std::memset(scratch.get() + thread * stride, 0, sizeof(float) * std::min(stride, zero_floats));
  }

  std::vector<std::thread> workers;
  workers.reserve(used);
  run.working = used - 1;
  try {
    while (static_cast<int>(workers.size()) + 1 < used) {
      workers.emplace_back(work_as_worker, std::ref(run), scratch.get() + (workers.size() + 1) * stride);
    }
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
    const std::lock_guard<std::mutex> lock(run.mutex);
    run.working -= used - 1 - static_cast<int>(workers.size());
  }
  take_items(run, scratch.get(), {caller_stopped, &run});
  wait_for_workers(run);
  for (std::thread& worker : workers) worker.join();
  return run.stop.load();
}

}  // namespace diffhpo
