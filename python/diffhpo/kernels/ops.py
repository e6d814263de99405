# SPDX-License-Identifier: Apache-2.0
"""The native module, and its operations as torch operators."""

from __future__ import annotations

from torch import Tensor

from diffhpo.errors import BackendError
from diffhpo.kernels.problem import NetworkWeights


def pack(weights: NetworkWeights) -> Tensor:
    raise BackendError("not built yet")
