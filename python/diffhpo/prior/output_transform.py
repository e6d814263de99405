# SPDX-License-Identifier: Apache-2.0
"""Monotone transforms of a function's values, and the noise of observing them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.random_draws import bernoulli, log_uniform, normal, uniform

#: Shares of the transforms, in the order of `OutputTransform._forms`.
_SHARES = (0.40, 0.15, 0.25, 0.08, 0.12)


class OutputTransform:
    """Brings each of B functions to a shape, scale and offset of its own; never decreasing.

    With u = (value - worst) / (best - worst), cut to [0, 1]: u; u^p, p in [1/5, 3]; 1 - exp(-k u), which
    compresses the top as an error rate near its floor does; -log(eps + 1 - u), which stretches it; a
    sigmoid. Then a quarter of the functions is clipped from below (chance level, crashed runs) and a
    tenth rounded to 10 to 200 levels (accuracy on a small test set).

    Args:
        values: (B, M) values of the functions that fix `worst`, `best` and the level of the clipping.
    """

    def __init__(self, generator: Generator, values: Tensor) -> None:
        B = len(values)
        self._worst = values.amin(1, keepdim=True)
        # A function that is constant but for rounding stays so.
        least = (1e-5 * values.abs().amax(1, keepdim=True)).clamp_min(1e-12)
        self._spread = torch.maximum(values.amax(1, keepdim=True) - self._worst, least)
        self._kind = torch.bucketize(
            uniform(generator, B, 1), torch.tensor(_SHARES, device=values.device).cumsum(0)[:-1]
        )
        self._power = log_uniform(generator, B, 1, low=0.2, high=3.0)
        self._rate = log_uniform(generator, B, 1, low=1.0, high=12.0)
        self._floor = log_uniform(generator, B, 1, low=1e-3, high=0.3)
        self._middle = uniform(generator, B, 1, low=0.1, high=0.9)
        levels = log_uniform(generator, B, 1, low=10.0, high=200.0).floor()
        # 2^20 levels: as good as none in float32.
        self._levels = torch.where(bernoulli(generator, B, 1, probability=0.1), levels, 2.0**20)
        self._scale = log_uniform(generator, B, 1, low=0.1, high=10.0)
        self._offset = normal(generator, B, 1)
        rank = (uniform(generator, B, 1, low=0.05, high=0.5) * values.shape[1]).to(torch.int64)
        clipped = bernoulli(generator, B, 1, probability=0.25)
        tail = self._unit(values).sort(1).values.gather(1, rank)
        self._least = torch.where(clipped, tail, 0.0)

    def _unit(self, values: Tensor) -> Tensor:
        return ((values - self._worst) / self._spread).clamp_(0.0, 1.0)

    def _forms(self, u: Tensor) -> list[Tensor]:
        return [
            u,
            u**self._power,
            1 - torch.exp(-self._rate * u),
            -torch.log(self._floor + 1 - u),
            torch.sigmoid(1.5 * self._rate * (u - self._middle)),
        ]

    def _chosen(self, u: Tensor) -> Tensor:
        chosen = u
        for index, form in enumerate(self._forms(u)):
            chosen = torch.where(self._kind == index, form, chosen)
        return chosen

    def __call__(self, values: Tensor) -> Tensor:
        """(B, N) -> (B, N)."""
        u = torch.maximum(self._unit(values), self._least)
        low, high = self._chosen(torch.zeros_like(self._least)), self._chosen(torch.ones_like(self._least))
        shaped = (self._chosen(u) - low) / (high - low)
        return self._scale * ((shaped * self._levels).round() / self._levels + self._offset)


def observe(generator: Generator, values: Tensor) -> Tensor:
    """Values as observed: exact for half the functions, else with normal noise.

    Its sd is log-uniform from 0.001 to 0.1 of the range of the function's values.
    """
    B = len(values)
    spread = values.amax(1, keepdim=True) - values.amin(1, keepdim=True)
    noisy = bernoulli(generator, B, 1, probability=0.5)
    sd = spread * log_uniform(generator, B, 1, low=1e-3, high=0.1) * noisy
    return values + sd * normal(generator, *values.shape)
