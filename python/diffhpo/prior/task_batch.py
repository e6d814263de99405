# SPDX-License-Identifier: Apache-2.0
"""The form in which functions, synthetic or real, reach the universal model's training."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

#: Values of `TaskBatch.kinds`.
CONTINUOUS, STEPPED, CATEGORICAL, PADDING = 0, 1, 2, 3


@dataclass(frozen=True)
class TaskBatch:
    """B functions, each evaluated at N points; columns beyond a function's dimension are 0."""

    x: Tensor
    """(B, N, D) float32 in [0, 1]; D is the largest dimension in the batch, 32 at most."""
    y: Tensor
    """(B, N) float32 observed values, larger is better, noise included."""
    value: Tensor
    """(B, N) float32 values without noise."""
    dims: Tensor
    """(B,) int64, 1 to 32: how many columns are used."""
    kinds: Tensor
    """(B, D) int64: 0 continuous, 1 stepped (integer), 2 categorical (levels at equal distance in [0, 1],
    their order means nothing), 3 padding."""
    roles: Tensor
    """(B, D) int64; 0 is unknown, which synthetic functions always are."""
    best_x: Tensor
    """(B, D) the best configuration known by value without noise."""
    best_value: Tensor
    """(B,) its value without noise."""
    origins: tuple[str, ...]
    """B names of the families or data sets."""

    def __len__(self) -> int:
        return len(self.origins)

    def to(self, device: torch.device | str) -> TaskBatch:
        """The same batch with every tensor on `device`."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "origins"}
        return replace(self, **moved)
