# SPDX-License-Identifier: Apache-2.0
"""What every family of synthetic functions is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from torch import Generator, Tensor

#: (B, N, d) points in [0, 1]^d -> (B, N) values, larger is better; row b is function b at its own points.
FunctionBatch: TypeAlias = Callable[[Tensor], Tensor]


class Family(Protocol):
    """A distribution over functions on the unit cube."""

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        """`batch` functions of `dim` variables, on the generator's device.

        The scale of their values is free: the sampler brings every function to a scale of its own.
        """
        ...
