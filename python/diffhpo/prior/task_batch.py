# SPDX-License-Identifier: Apache-2.0
"""The form in which functions, synthetic or real, reach the universal model's training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from diffhpo.model.universal.dimensions import CATEGORICAL, CONTINUOUS, PADDING, STEPPED

__all__ = ["CATEGORICAL", "CONTINUOUS", "PADDING", "STEPPED", "TaskBatch", "joined", "points_at"]


@dataclass(frozen=True)
class TaskBatch:
    """B functions, each evaluated at N points; columns beyond a function's dimension are 0."""

    x: Tensor
    """(B, N, D) float32 in [0, 1]; D is the largest dimension in the batch, 32 at most."""
    y: Tensor
    """(B, N) float32 observed values, larger is better, noise included."""
    value: Tensor
    """(B, N) float32 values without noise."""
    broad: Tensor
    """(B, N) bool: true for points drawn whatever the function, false for those that a search added."""
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

    def rows(self, index: Tensor | slice) -> TaskBatch:
        """Some of the functions, cut to their largest dimension."""
        chosen = torch.arange(len(self))[index].tolist()
        dim = int(self.dims[index].max())
        return TaskBatch(
            x=self.x[index, :, :dim],
            y=self.y[index],
            value=self.value[index],
            broad=self.broad[index],
            dims=self.dims[index],
            kinds=self.kinds[index, :dim],
            roles=self.roles[index, :dim],
            best_x=self.best_x[index, :dim],
            best_value=self.best_value[index],
            origins=tuple(self.origins[row] for row in chosen),
        )

    def by_dimension(self) -> TaskBatch:
        """The functions in rising order of their dimension: neighbours then pad little."""
        return self.rows(self.dims.argsort(stable=True))

    def to(self, device: torch.device | str) -> TaskBatch:
        """The same batch with every tensor on `device`."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "origins"}
        return replace(self, **moved)


def joined(groups: Sequence[TaskBatch]) -> TaskBatch:
    """One batch of several, padded to the largest dimension."""
    D = max(group.x.shape[2] for group in groups)

    def columns(tensors: list[Tensor], fill: int) -> Tensor:
        return torch.cat([pad(t, (0, D - t.shape[-1]), value=fill) for t in tensors])

    return TaskBatch(
        x=columns([g.x for g in groups], 0),
        y=torch.cat([g.y for g in groups]),
        value=torch.cat([g.value for g in groups]),
        broad=torch.cat([g.broad for g in groups]),
        dims=torch.cat([g.dims for g in groups]),
        kinds=columns([g.kinds for g in groups], PADDING),
        roles=columns([g.roles for g in groups], 0),
        best_x=columns([g.best_x for g in groups], 0),
        best_value=torch.cat([g.best_value for g in groups]),
        origins=tuple(name for g in groups for name in g.origins),
    )


def points_at(x: Tensor, index: Tensor) -> Tensor:
    """x (B, N, D) and places (B, n) -> (B, n, D)."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
