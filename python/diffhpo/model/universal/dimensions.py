# SPDX-License-Identifier: Apache-2.0
"""Dimensions of a search space as the universal model sees them: masked, typed, in no particular order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Dimensions that one model takes at most.
MAX_DIM = 32

#: What a dimension may be: real, stepped (integer or ordinal), categorical, or padding.
CONTINUOUS, STEPPED, CATEGORICAL, PADDING = range(4)
KINDS = 4

#: Size of the table of roles (see `diffhpo.parameter_roles`); 0 is "unknown".
ROLES = 64

#: Numbers that `basis` makes of one coordinate.
BASIS = 7


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of B search spaces, padded to the widest."""

    kinds: Tensor
    """(B, D) int64, one of CONTINUOUS, STEPPED, CATEGORICAL, PADDING."""
    roles: Tensor
    """(B, D) int64 in [0, ROLES); 0 where nothing is known."""

    @property
    def mask(self) -> Tensor:
        """(B, D) true where a dimension exists."""
        return self.kinds != PADDING

    @property
    def count(self) -> Tensor:
        """(B, 1) float: how many exist."""
        return self.mask.sum(1, keepdim=True).clamp_min(1).float()

    @classmethod
    def continuous(cls, batch: int, dim: int, device: torch.device | None = None) -> Dimensions:
        """B spaces of `dim` real dimensions of which nothing else is known."""
        kinds = torch.full((batch, dim), CONTINUOUS, device=device)
        return cls(kinds, torch.zeros_like(kinds))


def basis(x: Tensor) -> Tensor:
    """(...) coordinates in [0, 1] -> (..., BASIS): 2x - 1 and three octaves of cosine and sine."""
    phase = math.pi * x.unsqueeze(-1) * torch.tensor([1.0, 2.0, 4.0], device=x.device, dtype=x.dtype)
    return torch.cat([2 * x.unsqueeze(-1) - 1, phase.cos(), phase.sin()], dim=-1)


def canonical_order(x: Tensor, z: Tensor, mask: Tensor, dimensions: Dimensions) -> Tensor:
    """(B, D) ranks of the dimensions by what the trials say of them: the same whatever their order.

    Dimensions that look alike must carry different names, or a sum over dimensions could not tell (a, b) from
    (b, a). The name is the rank of sum_i (1 + z_i) (x_ij - 1/2), which the order of dimensions and of trials
    changes only by rounding. Padding comes last.

    Args:
        x: (B, n, D)
        z: (B, n) standardised values.
        mask: (B, n)
    """
    weight = (1 + z.double()).masked_fill(~mask, 0.0)
    statistic = (weight.unsqueeze(-1) * (x.double() - 0.5)).sum(1)
    statistic = statistic.masked_fill(~dimensions.mask, torch.inf)
    return statistic.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
