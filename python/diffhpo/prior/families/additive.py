# SPDX-License-Identifier: Apache-2.0
"""Sums of functions of one and of two variables."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.random_draws import bernoulli, integers, log_uniform, normal, uniform


class AdditiveFunctions:
    """f(x) = sum_i a_i phi(w_i (x_j(i) - c_i)), each term on one variable or on a pair of them.

    phi is a cosine, a hinge (piecewise linear) or a step (piecewise constant); a function mixes them in
    its own proportions. Importances of the variables are log-normal with sd 1: few of them matter.
    """

    def __init__(self, features: int = 96) -> None:
        self.features = features - features % 3

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        F = self.features
        importance = torch.exp(normal(generator, batch, dim))
        first = integers(generator, batch, F, low=0, high=dim)
        second = integers(generator, batch, F, low=0, high=dim)
        paired = bernoulli(generator, batch, F, probability=0.25) & (first != second)
        scale = log_uniform(generator, batch, F, low=1.0, high=8.0)
        scale *= torch.where(bernoulli(generator, batch, F, probability=0.5), 1.0, -1.0)
        weights = torch.zeros(batch, dim, F, device=generator.device)
        weights.scatter_(1, first.unsqueeze(1), scale.unsqueeze(1))
        weights.scatter_add_(
            1, second.unsqueeze(1), (paired * scale * normal(generator, batch, F)).unsqueeze(1)
        )
        centres = uniform(generator, batch, dim, F)
        offsets = -(weights * centres).sum(1, keepdim=True)
        proportions = normal(generator, batch, 3).abs_() * bernoulli(generator, batch, 3, probability=0.6)
        proportions[:, 0] += 0.1
        amplitudes = normal(generator, batch, F) * importance.gather(1, first)
        amplitudes = amplitudes.view(batch, 3, F // 3) * proportions.unsqueeze(2)
        # A hinge of slope w rises by about |w| / 2 over the cube; a cosine and a step by about 1.
        amplitudes[:, 1] /= scale.view(batch, 3, F // 3)[:, 1].abs()
        amplitudes = amplitudes.view(batch, F, 1) / math.sqrt(F)
        third = F // 3

        def evaluate(x: Tensor) -> Tensor:
            z = torch.baddbmm(offsets, x, weights)
            z[:, :, :third].cos_()
            z[:, :, third : 2 * third].clamp_min_(0.0)
            z[:, :, 2 * third :].sign_()
            return torch.bmm(z, amplitudes).squeeze(2)

        return evaluate
