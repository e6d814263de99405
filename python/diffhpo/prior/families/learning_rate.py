# SPDX-License-Identifier: Apache-2.0
"""Landscapes like those of a learning rate and of what trades with it."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.families.gaussian_process import GaussianProcessDraws
from diffhpo.prior.random_draws import bernoulli, log_uniform, normal, uniform


class LearningRateLandscapes:
    """A ridge with a cliff, saturating variables and weak interactions.

    t = x_0 - c - r . x_rest is the log learning rate against its optimum, which batch size, rounds and
    width shift (r is sparse). Below the optimum the score decays to chance level at one width, above it
    at another, and beyond a limit training diverges. Other variables saturate ("more rounds is better
    with diminishing return") or have an optimum of their own, shifted by one other variable (depth
    against regularisation). A weak Gaussian process is added.
    """

    def __init__(self) -> None:
        self._residual = GaussianProcessDraws(features=32)

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        optimum = uniform(generator, batch, 1, low=-0.1, high=1.1)
        shifts = 0.5 * normal(generator, batch, dim) * bernoulli(generator, batch, dim, probability=0.3)
        shifts[:, 0] = -1.0
        centre = uniform(generator, batch, dim)
        centre[:, 0] = 0.0
        below = log_uniform(generator, batch, 1, low=0.08, high=1.5)
        above = log_uniform(generator, batch, 1, low=0.05, high=1.0)
        tail = log_uniform(generator, batch, 1, low=0.3, high=4.0)
        cliff = log_uniform(generator, batch, 1, low=0.05, high=1.0)
        steepness = log_uniform(generator, batch, 1, low=20.0, high=500.0)
        diverges = bernoulli(generator, batch, 1, probability=0.6).to(torch.float32)
        rate = log_uniform(generator, batch, dim, low=0.5, high=12.0)
        flipped = bernoulli(generator, batch, dim, probability=0.4)
        saturating = bernoulli(generator, batch, dim, probability=0.5)
        weight = torch.exp(normal(generator, batch, dim) - 0.9)
        weight *= bernoulli(generator, batch, dim, probability=0.7)
        weight[:, 0] = 0.0
        curvature = log_uniform(generator, batch, dim, low=0.5, high=8.0)
        own = uniform(generator, batch, dim, low=-0.2, high=1.2)
        crossed = bernoulli(generator, batch, 1, probability=0.4) * 0.8 * normal(generator, batch, dim)
        weak = log_uniform(generator, batch, 1, low=0.003, high=0.2)
        residual = self._residual.draw(generator, batch, dim)
        product = bernoulli(generator, batch, 1, probability=0.5)

        def evaluate(x: Tensor) -> Tensor:
            t = -((x - centre.unsqueeze(1)) * shifts.unsqueeze(1)).sum(2) - optimum
            away = t / torch.where(t > 0, above, below)
            # (1 + a^2 / tail)^-tail: from Cauchy-like flanks to a Gaussian, always down to chance level.
            ridge = (1 + away.square() / tail) ** -tail
            ridge = ridge * (1 - diverges * torch.sigmoid(steepness * (t - cliff)))
            oriented = torch.where(flipped.unsqueeze(1), 1 - x, x)
            gain = 1 - torch.exp(-rate.unsqueeze(1) * oriented)
            shifted = x - own.unsqueeze(1) - crossed.unsqueeze(1) * (x.roll(1, dims=2) - 0.5)
            bowl = -curvature.unsqueeze(1) * shifted.square()
            others = (torch.where(saturating.unsqueeze(1), gain, bowl) * weight.unsqueeze(1)).sum(2)
            others = others + weak * residual(x)
            return torch.where(product, ridge * torch.exp(0.7 * others.clamp(-8.0, 8.0)), ridge + others)

        return evaluate
