// SPDX-License-Identifier: Apache-2.0
// Runs the CUDA reverse loop of the problem in file argv[1] and writes to argv[2]: the first diverged step, then x.
// Both files: int64 size in bytes, then that many bytes, array after array in the order of main().

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "cuda/denoise_cuda.h"
#include "fibers.h"
#include "cuda/fragment_layout.h"

namespace {

// Heap memory of the exact size, so that AddressSanitizer sees an access beyond it.
template <class T>
struct Array {
  explicit Array(std::FILE* file) {
    int64_t bytes = 0;
    if (std::fread(&bytes, sizeof bytes, 1, file) != 1) std::abort();
    size = bytes / static_cast<int64_t>(sizeof(T));
    data.reset(new T[size]);
    if (std::fread(data.get(), 1, bytes, file) != static_cast<size_t>(bytes)) std::abort();
  }
  explicit Array(int64_t count) : size(count), data(new T[count]) { std::memset(data.get(), 0xFF, count * sizeof(T)); }
  T* get() const { return data.get(); }
  T operator[](int64_t i) const { return data[i]; }

  int64_t size;
  std::unique_ptr<T[]> data;
};

}  // namespace

int main(int, char** argv) {
  std::FILE* in = std::fopen(argv[1], "rb");
  if (in == nullptr) return 2;
  // dim, width, blocks, steps, jobs, branches, candidates, clip, bf16, shared_bytes, processors, order
  const Array<int64_t> sizes(in);
  const Array<double> guidance(in);
  const Array<float> weights(in), step_conditioning(in), job_conditioning(in);
  const Array<double> coefficients(in);
  const Array<int64_t> keys(in), counts(in), seeds(in), first_candidates(in), jobs(in);
  std::fclose(in);
  emulation::device() = {static_cast<int>(sizes[9]), static_cast<int>(sizes[10]), static_cast<uint32_t>(sizes[11])};

  diffhpo::DenoiseProblem p{};
  p.layout = {sizes[0], sizes[1], sizes[2]};
  p.steps = sizes[3];
  p.jobs = sizes[4];
  p.branches = sizes[5];
  p.candidates = sizes[6];
  p.weights = weights.get();
  p.step_conditioning = step_conditioning.get();
  p.job_conditioning = job_conditioning.get();
  p.coefficients = coefficients.get();
  p.keys = keys.get();
  p.counts = counts.get();
  p.seeds = seeds.get();
  p.first_candidates = first_candidates.get();
  p.guidance = static_cast<float>(guidance[0]);
  p.clip = sizes[7] != 0;
  const Array<float> x(p.candidates * p.layout.dim);
  p.x = x.get();
  int64_t diverged = diffhpo::kNotDiverged;

  std::string error;
  if (sizes[8] != 0) {
    const Array<uint8_t> fragments(diffhpo::FragmentLayout::of(p.layout).bytes());
    error = diffhpo::arrange_cuda(p.layout, p.weights, fragments.get(), 0, 0);
    p.coded = fragments.get();
    if (error.empty()) error = diffhpo::denoise_cuda_bf16(p, jobs.get(), &diverged, 0, 0);
  } else {
    error = diffhpo::denoise_cuda(p, jobs.get(), &diverged, 0, 0);
  }
  if (!error.empty()) {
    std::fprintf(stderr, "refused: %s\n", error.c_str());
    return 1;
  }
  std::FILE* out = std::fopen(argv[2], "wb");
  if (out == nullptr) return 2;
  std::fwrite(&diverged, sizeof diverged, 1, out);
  std::fwrite(x.get(), sizeof(float), x.size, out);
  return std::fclose(out) == 0 ? 0 : 2;
}
