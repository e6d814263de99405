// SPDX-License-Identifier: Apache-2.0
// What an x86-64 processor and its operating system offer.
#pragma once

#include <cpuid.h>

#include <cstdint>

namespace diffhpo {

struct CpuFeatures {
  bool avx2_fma = false;     // AVX2 and FMA
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_bf16 = false;
  bool avx512_vnni = false;
};

// By the instructions themselves: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID, and
// volume 1, sections 14.3 and 15.2.
inline CpuFeatures read_cpu_features() {
  unsigned a, b, c, d;
  CpuFeatures found;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const bool fma = c >> 12 & 1;
  if (!(c >> 27 & 1)) return found;  // the operating system saves no wide registers
  uint32_t saved, upper;
  __asm__ volatile("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
  if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  const unsigned subleaves = a;
  found.avx2_fma = fma && (b >> 5 & 1);
  const bool parts = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);
  found.avx512 = found.avx2_fma && parts && (saved & 0xe6) == 0xe6;
  found.avx512_vnni = found.avx512 && (c >> 11 & 1);
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avx512_bf16 = found.avx512 && (a >> 5 & 1);
  return found;
}

inline CpuFeatures cpu_features() {
#ifdef _MSC_VER
  // __builtin_cpu_supports asks the compiler's runtime library, which Clang does not link on Windows. Read once:
  // cpuid leaves a virtual machine.
  static const CpuFeatures found = read_cpu_features();
  return found;
#else
  __builtin_cpu_init();
  CpuFeatures found;
  found.avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  found.avx512 = found.avx2_fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  found.avx512_bf16 = found.avx512 && __builtin_cpu_supports("avx512bf16");
  found.avx512_vnni = found.avx512 && __builtin_cpu_supports("avx512vnni");
  return found;
#endif
}

}  // namespace diffhpo
