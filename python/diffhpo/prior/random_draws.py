# SPDX-License-Identifier: Apache-2.0
"""Random tensors on the device of a generator."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def uniform(generator: Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform in [low, high), float32."""
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return drawn if (low, high) == (0.0, 1.0) else drawn.mul_(high - low).add_(low)


def log_uniform(generator: Generator, *shape: int, low: float, high: float) -> Tensor:
    """exp of a uniform variable: every factor between `low` and `high` is equally likely."""
    return uniform(generator, *shape, low=math.log(low), high=math.log(high)).exp_()


def normal(generator: Generator, *shape: int) -> Tensor:
    """Standard normal, float32."""
    return torch.randn(shape, generator=generator, device=generator.device)


def bernoulli(generator: Generator, *shape: int, probability: float) -> Tensor:
    """True with `probability`."""
    return torch.rand(shape, generator=generator, device=generator.device) < probability


def integers(generator: Generator, *shape: int, low: int, high: int) -> Tensor:
    """Uniform over low, ..., high - 1, int64."""
    return torch.randint(low, high, shape, generator=generator, device=generator.device)


def one_of(generator: Generator, batch: int, choices: int) -> Tensor:
    """(batch, choices) one-hot rows, float32: which of `choices` each function takes."""
    return torch.eye(choices, device=generator.device)[integers(generator, batch, low=0, high=choices)]
