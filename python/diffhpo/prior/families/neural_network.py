# SPDX-License-Identifier: Apache-2.0
"""Random small neural networks."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.random_draws import bernoulli, log_uniform, normal, one_of, uniform


def _activate(z: Tensor) -> Tensor:
    """Four equal parts of the units: tanh, relu, sine, step; in place."""
    quarter = z.shape[2] // 4
    z[:, :, :quarter].tanh_()
    z[:, :, quarter : 2 * quarter].clamp_min_(0.0)
    z[:, :, 2 * quarter : 3 * quarter].sin_()
    z[:, :, 3 * quarter :].sign_()
    return z


class NeuralNetworks:
    """Two hidden layers of random weights, their scales drawn per function.

    Every layer has units of all four activations (tanh, relu, sine, step); most functions listen to one
    of them above all. Inputs are scaled by log-normal importances.
    """

    def __init__(self, width: int = 48) -> None:
        self.width = width - width % 4

    def _gates(self, generator: Generator, batch: int) -> Tensor:
        """(batch, width, 1): which units the next layer hears, of mean square about 1."""
        mixed = normal(generator, batch, 4).abs_()
        pure = bernoulli(generator, batch, 1, probability=0.7)
        gates = torch.where(pure, 2 * one_of(generator, batch, 4) + 0.1 * mixed, mixed)
        return gates.repeat_interleave(self.width // 4, dim=1).unsqueeze(2)

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        W = self.width
        importance = torch.exp(0.8 * normal(generator, batch, dim, 1))
        importance /= importance.square().mean(1, keepdim=True).sqrt_()
        scale = log_uniform(generator, batch, 1, 1, low=1.0, high=10.0)
        first = normal(generator, batch, dim, W) * importance * scale / dim**0.5
        # The kinks of the units lie inside the cube: each plane passes through a random point of it.
        first_bias = -torch.bmm(uniform(generator, batch, 1, dim), first)
        first_bias = first_bias + 0.5 * scale * normal(generator, batch, 1, W)
        second = normal(generator, batch, W, W) * self._gates(generator, batch) / W**0.5
        second *= log_uniform(generator, batch, 1, 1, low=0.5, high=3.0)
        second_bias = normal(generator, batch, 1, W)
        out = normal(generator, batch, W, 1) * self._gates(generator, batch) / W**0.5
        skip = normal(generator, batch, W, 1) * self._gates(generator, batch) / W**0.5
        skip *= bernoulli(generator, batch, 1, 1, probability=0.3)

        def evaluate(x: Tensor) -> Tensor:
            hidden = _activate(torch.baddbmm(first_bias, x, first))
            deeper = _activate(torch.baddbmm(second_bias, hidden, second))
            return torch.baddbmm(torch.bmm(hidden, skip), deeper, out).squeeze(2)

        return evaluate
