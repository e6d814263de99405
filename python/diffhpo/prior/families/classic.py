# SPDX-License-Identifier: Apache-2.0
"""Rotated and shifted classics of optimisation: many local optima, sharp peaks, narrow valleys."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.random_draws import bernoulli, log_uniform, normal, one_of, uniform


class ClassicFunctions:
    """Ackley, Rastrigin, Griewank, Levy-like waves, an ellipsoid, a cusp: z = R S (x - c), f(z) <= f(0) = 0.

    R is a product of two reflections for half the functions; c lies on the border in 40 percent of the
    coordinates, as optima of tuning problems do; S stretches the axes by log-normal factors.
    """

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        centre = uniform(generator, batch, 1, dim)
        border = bernoulli(generator, batch, 1, dim, probability=0.4)
        centre = torch.where(border, centre.round(), centre)
        spread = uniform(generator, batch, 1, 1, high=1.2)
        stretch = torch.exp(spread * normal(generator, batch, 1, dim))
        stretch /= stretch.square().mean(2, keepdim=True).sqrt_()
        stretch *= log_uniform(generator, batch, 1, 1, low=1.0, high=5.0)
        rotation = torch.diag_embed(stretch.squeeze(1))
        rotated = bernoulli(generator, batch, 1, 1, probability=0.5)
        for _ in range(2):
            axis = normal(generator, batch, dim, 1)
            axis /= axis.square().sum(1, keepdim=True).sqrt_().clamp_min_(1e-6)
            # Householder: I - 2 v v^T.
            rotation = rotation - 2 * rotated * torch.bmm(torch.bmm(rotation, axis), axis.transpose(1, 2))
        offset = -torch.bmm(centre, rotation)
        which = one_of(generator, batch, 6).unsqueeze(2)
        ripple = log_uniform(generator, batch, 1, 1, low=0.02, high=0.5)
        decay = log_uniform(generator, batch, 1, low=0.3, high=3.0)

        def evaluate(x: Tensor) -> Tensor:
            z = torch.baddbmm(offset, x, rotation)
            squares = z.square()
            bowl = squares.mean(2)
            root = (bowl + 1e-12).sqrt()
            waves = torch.cos(2 * math.pi * z)
            ackley = torch.exp(-decay * root) + ripple.squeeze(2) * (waves.mean(2).exp() - math.e)
            rastrigin = (ripple * (waves - 1) - squares).mean(2)
            product = torch.cos(3 * z).clamp_min(-0.99).add(1).log().mean(2).exp()
            griewank = product * ripple.squeeze(2) - bowl
            levy = -(torch.sin(math.pi * z).square() * (ripple + squares)).mean(2) - 0.1 * bowl
            cusp = -root.sqrt()
            kinds = torch.stack([ackley, rastrigin, griewank, levy, -bowl, cusp], dim=1)
            return (kinds * which).sum(1)

        return evaluate
