// SPDX-License-Identifier: Apache-2.0
// Spreads the tiles of a reverse loop over threads, and picks the kernel's build.
//
// Threads live for one call: a loop takes milliseconds, a thread start ten microseconds, and nothing is left
// behind that could meet torch's own threads or a fork.

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
#include <utility>
#include <vector>

#include "denoise_cpu.h"
#include "isa.h"
#include "scratch.h"

namespace diffhpo {

namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(20);

struct FreeAligned {
  void operator()(float* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};

struct Run {
  Run(const DenoiseProblem& problem, StopSignal interrupted, std::vector<Tile> tiles)
      : problem(problem), interrupted(interrupted), tiles(std::move(tiles)) {}

  const DenoiseProblem& problem;
  StopSignal interrupted;
  std::vector<Tile> tiles;
  DenoiseTile kernel = portable::denoise_tile;
  std::atomic<size_t> next{0};
  std::atomic<int64_t> diverged{kNotDiverged};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable worker_done;
  size_t working = 0;  // guarded by mutex
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

void work(Run& run, float* scratch, StopSignal stop) {
  for (size_t i; (i = run.next.fetch_add(1)) < run.tiles.size() && !run.stop.load(std::memory_order_relaxed);) {
    const int64_t step = run.kernel(run.problem, run.tiles[i], scratch, stop);
    int64_t least = run.diverged.load();
    while (step < least && !run.diverged.compare_exchange_weak(least, step)) {
    }
  }
}

void work_as_worker(Run& run, float* scratch) {
  work(run, scratch, {worker_stopped, &run});
  const std::lock_guard<std::mutex> lock(run.mutex);
  --run.working;
  run.worker_done.notify_one();
}

// The caller keeps answering signals while the workers finish their last tiles.
void wait_for_workers(Run& run) {
  std::unique_lock<std::mutex> lock(run.mutex);
  while (!run.worker_done.wait_for(lock, kPollInterval, [&run] { return run.working == 0; })) {
    lock.unlock();
    caller_stopped(&run);
    lock.lock();
  }
}

// Tiles of nearly equal size, no larger than kTileRows and few enough rows for every thread to get one.
std::vector<Tile> cut(const DenoiseProblem& problem, int threads) {
  const int64_t share = (problem.candidates + threads - 1) / threads;
  const int64_t largest = std::max<int64_t>(1, std::min<int64_t>(kTileRows, share));
  std::vector<Tile> tiles;
  int64_t row = 0;
  for (int64_t job = 0; job < problem.jobs; ++job) {
    const int64_t count = problem.counts[job], pieces = (count + largest - 1) / largest;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t from = count * piece / pieces, to = count * (piece + 1) / pieces;
      tiles.push_back({job, from, row + from, static_cast<int>(to - from)});
    }
    row += count;
  }
  return tiles;
}

}  // namespace

int64_t denoise_cpu(const DenoiseProblem& problem, Isa isa, int threads, StopSignal interrupted) {
  Run run(problem, interrupted, cut(problem, std::max(1, threads)));
#ifdef DIFFHPO_X86_ISAS
  if (isa == Isa::avx2) run.kernel = avx2::denoise_tile;
  if (isa == Isa::avx512) run.kernel = avx512::denoise_tile;
#else
  (void)isa;
#endif
  const size_t used = std::min(run.tiles.size(), static_cast<size_t>(std::max(1, threads)));
  if (used == 0) return kNotDiverged;
  const int64_t size = divide_scratch(nullptr, problem.layout).size;
  std::unique_ptr<float[], FreeAligned> scratch(
      static_cast<float*>(::operator new[](sizeof(float) * size * used, std::align_val_t(64))));
  // Padding lanes are computed with and never read; zero keeps them finite.
  std::memset(scratch.get(), 0, sizeof(float) * size * used);

  std::vector<std::thread> workers;
  workers.reserve(used);
  run.working = used - 1;
  try {
    while (workers.size() + 1 < used) {
      workers.emplace_back(work_as_worker, std::ref(run), scratch.get() + (workers.size() + 1) * size);
    }
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
    const std::lock_guard<std::mutex> lock(run.mutex);
    run.working -= used - 1 - workers.size();
  }
  work(run, scratch.get(), {caller_stopped, &run});
  wait_for_workers(run);
  for (std::thread& worker : workers) worker.join();
  return run.diverged.load();
}

void fill_noise(Isa isa, uint64_t seed, const int64_t* candidates, int64_t count, uint32_t key, int64_t dim,
                float* z) {
  FillNoise kernel = portable::fill_noise;
#ifdef DIFFHPO_X86_ISAS
  if (isa == Isa::avx2) kernel = avx2::fill_noise;
  if (isa == Isa::avx512) kernel = avx512::fill_noise;
#else
  (void)isa;
#endif
  kernel(seed, candidates, count, key, dim, z);
}

}  // namespace diffhpo
