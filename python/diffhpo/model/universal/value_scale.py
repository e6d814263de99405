# SPDX-License-Identifier: Apache-2.0
"""The scale on which the universal model sees values: straight among good trials, logarithmic among bad."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Values are taken to lie within this bound: sums and differences of larger ones overflow.
LARGEST = 1e150


@dataclass(frozen=True)
class ValueScale:
    """A monotone map of each context's values, and of values predicted from it.

    With a = (y - median) / (best - median)::

        z = (w(a) - location) / scale,    w(a) = a for a >= 0, -log(1 - a) below

    so that terrible trials do not flatten the differences among good ones. z has mean 0 and deviation 1
    within the context. w is smooth to the first order, and straight where improvements lie.
    """

    median: Tensor
    """(B, 1)"""
    span: Tensor
    """(B, 1) best - median, positive"""
    location: Tensor
    """(B, 1)"""
    scale: Tensor
    """(B, 1), positive"""

    @classmethod
    def fit(cls, y: Tensor, mask: Tensor) -> ValueScale:
        """The scale of B contexts.

        Args:
            y: (B, n) finite values, n may be 0.
            mask: (B, n) true where a trial exists.

        Example:
            >>> y = torch.tensor([[0.0, 1.0, -1e6, 2.0]])
            >>> ValueScale.fit(y, torch.ones_like(y, dtype=torch.bool)).standardise(y).argsort()
            tensor([[2, 0, 1, 3]])
        """
        y = _bounded(y)
        count = mask.sum(1, keepdim=True)
        one = torch.ones(len(y), 1, dtype=y.dtype, device=y.device)
        if y.shape[1] == 0:
            return cls(0 * one, one, 0 * one, one)
        ordered = y.masked_fill(~mask, torch.inf).sort(1).values
        last = (count - 1).clamp_min(0)
        pick = [
            ordered.gather(1, index) for index in (last // 2, (last + 1) // 2, last, torch.zeros_like(last))
        ]
        low, high, best, worst = (torch.where(count > 0, value, 0.0) for value in pick)
        median = (low + high) / 2
        reach = best - worst
        # Half of the trials may tie for the best; a share of the whole range stands in then.
        span = torch.maximum(best - median, 0.05 * reach)
        span = torch.where(span > 0, span, one)
        warped = _warp((y - median) / span).masked_fill(~mask, 0.0)
        location = warped.sum(1, keepdim=True) / count.clamp_min(1)
        deviation = ((warped - location).masked_fill(~mask, 0.0) ** 2).sum(1, keepdim=True)
        deviation = (deviation / count.clamp_min(1)).sqrt()
        scale = torch.where((count > 1) & (deviation > 1e-9), deviation, one)
        return cls(median, span, location, scale)

    def standardise(self, y: Tensor) -> Tensor:
        """(B, m) values -> (B, m) z."""
        return (_warp((_bounded(y) - self.median) / self.span) - self.location) / self.scale

    def restore(self, z: Tensor) -> Tensor:
        """(B, m) z -> (B, m) values, the inverse of `standardise`."""
        warped = z.double() * self.scale + self.location
        return self.median + self.span * torch.where(warped >= 0, warped, -torch.expm1(-warped))

    def log_slope(self, y: Tensor) -> Tensor:
        """log dz/dy at (B, m) values: add it to log p(z) to have log p(y)."""
        a = (_bounded(y) - self.median) / self.span
        return -torch.log1p((-a).clamp_min(0)) - (self.span * self.scale).log()


def _bounded(y: Tensor) -> Tensor:
    return y.double().clamp(-LARGEST, LARGEST)


def _warp(a: Tensor) -> Tensor:
    return torch.where(a >= 0, a, -torch.log1p((-a).clamp_min(0)))
