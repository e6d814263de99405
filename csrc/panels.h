// SPDX-License-Identifier: Apache-2.0
// Packed matrices: (outputs, inputs) is cut into panels of 32 outputs and stored [panel][input][32], a bias
// [panel][32]; outputs beyond the last are zero. So 32 lanes of a GPU warp, or 1 to 8 SIMD vectors, read neighbouring
// outputs of one input, and a panel is one contiguous stream.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace diffhpo {

constexpr int kPanel = 32;

DIFFHPO_INLINE constexpr int64_t panels(int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }
DIFFHPO_INLINE constexpr int64_t padded(int64_t outputs) { return panels(outputs) * kPanel; }

}  // namespace diffhpo
