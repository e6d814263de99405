// SPDX-License-Identifier: Apache-2.0
// Run-time choice among the builds of the CPU kernels. DIFFHPO_X86_ISAS is set where the compiler targets x86-64;
// elsewhere only the portable build exists.
#pragma once

#include <cstring>

#include "denoise/precision.h"

#ifdef DIFFHPO_X86_ISAS
#include "cpu/cpu_features.h"
#endif

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
  return isa == Isa::avx2 ? cpu_features().avx2_fma : cpu_features().avx512;
#else
  return false;
#endif
}

// The build of a per-ISA function: DIFFHPO_BUILD_OF(isa, denoise_tile).
#ifdef DIFFHPO_X86_ISAS
#define DIFFHPO_BUILD_OF(isa, function) \
  ((isa) == Isa::avx512 ? avx512::function : (isa) == Isa::avx2 ? avx2::function : portable::function)
#else
#define DIFFHPO_BUILD_OF(isa, function) ((void)(isa), portable::function)
#endif

inline constexpr Precision kPrecisions[] = {Precision::fp32, Precision::bf16, Precision::int8};

inline const char* precision_name(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::bf16 ? "bf16" : "int8";
}

// Whether the compiler could build the reverse loop at this precision: fp32 for every ISA, the others for AVX-512.
inline bool precision_built(Precision precision) {
#ifdef DIFFHPO_BUILT_BF16
  if (precision == Precision::bf16) return true;
#endif
#ifdef DIFFHPO_BUILT_INT8
  if (precision == Precision::int8) return true;
#endif
  return precision == Precision::fp32;
}

inline bool precision_supported(Precision precision) {
  if (precision == Precision::fp32) return true;
#ifdef DIFFHPO_X86_ISAS
  if (!isa_supported(Isa::avx512)) return false;
  return precision == Precision::bf16 ? cpu_features().avx512_bf16 : cpu_features().avx512_vnni;
#else
  return false;
#endif
}

inline bool parse_precision(const char* name, Precision* precision) {
  for (Precision candidate : kPrecisions) {
    if (std::strcmp(name, precision_name(candidate)) == 0) {
      *precision = candidate;
      return true;
    }
  }
  return false;
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
