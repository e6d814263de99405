# SPDX-License-Identifier: Apache-2.0
"""Which executors there are, why others are not, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.errors import BackendError
from diffhpo.kernels.problem import DenoiseProblem


@dataclass(frozen=True)
class Executor:
    """One way of running the reverse loop."""

    name: str

    def denoise(self, problem: DenoiseProblem, packed: Tensor, threads: int) -> Tensor:
        raise BackendError("native executors are not built yet; use executor='reference'")


def choose_executor(name: str, *, device: torch.device, cross_attention: bool) -> Executor:
    if name in ("auto", "reference"):
        return Executor("reference")
    raise BackendError("native executors are not built yet; use executor='reference'")
