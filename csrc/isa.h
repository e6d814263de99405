// SPDX-License-Identifier: Apache-2.0
// Run-time choice among the builds of the CPU kernel. DIFFHPO_X86_ISAS is set where the compiler targets
// x86-64; elsewhere only the portable build exists.
#pragma once

#include <cstring>

namespace diffhpo {

enum class Isa { portable, avx2, avx512 };

inline constexpr Isa kIsas[] = {Isa::portable, Isa::avx2, Isa::avx512};

inline const char* isa_name(Isa isa) {
  return isa == Isa::portable ? "portable" : isa == Isa::avx2 ? "avx2" : "avx512";
}

inline bool isa_built(Isa isa) {
#ifdef DIFFHPO_X86_ISAS
  (void)isa;
  return true;
#else
  return isa == Isa::portable;
#endif
}

// Whether processor and operating system (which has to save the wide registers) both allow it.
inline bool isa_supported(Isa isa) {
  if (isa == Isa::portable) return true;
#ifdef DIFFHPO_X86_ISAS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

inline bool parse_isa(const char* name, Isa* isa) {
  for (Isa candidate : kIsas) {
    if (std::strcmp(name, isa_name(candidate)) == 0) {
      *isa = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace diffhpo
