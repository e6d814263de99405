# SPDX-License-Identifier: Apache-2.0
"""Most of the space equally poor with a few basins, or equally good with a few pits."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.random_draws import bernoulli, log_uniform, normal, uniform


class PlateauBasins:
    """f(x) = max_k h_k sigmoid(s_k (r_k - |w_k (x - c_k)|)) (1 - b |w_k (x - c_k)|^2) + slope.

    The walls are from gentle to cliffs; r_k is chosen so that a basin holds a share of about 2 to 50
    percent of the distances seen at random points. A fifth of the functions is turned upside down.
    """

    basins = 3

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        K = self.basins
        weights = torch.exp(uniform(generator, batch, 1, 1, high=1.5) * normal(generator, batch, K, dim))
        weights /= weights.square().sum(2, keepdim=True).sqrt_()
        centres = uniform(generator, batch, K, dim, low=-0.2, high=1.2).clamp_(0.0, 1.0)
        probes = uniform(generator, batch, 1, 64, dim)
        distances = ((probes - centres.unsqueeze(2)) * weights.unsqueeze(2)).square().sum(3).sqrt_()
        share = log_uniform(generator, batch, K, low=0.02, high=0.5)
        nearest = (share * 64).to(torch.int64)
        radius = distances.sort(2).values.gather(2, nearest.unsqueeze(2)).squeeze(2)
        heights = uniform(generator, batch, K, low=0.4)
        several = bernoulli(generator, batch, 1, probability=0.5)
        heights[:, 1:] *= several
        heights[:, 0] = 1.0
        steepness = log_uniform(generator, batch, K, low=3.0, high=100.0) / radius.clamp_min(0.02)
        bend = uniform(generator, batch, K, high=0.8) / radius.clamp_min(0.02).square()
        slope = normal(generator, batch, dim, 1) * log_uniform(generator, batch, 1, 1, low=1e-3, high=0.1)
        sign = torch.where(bernoulli(generator, batch, 1, probability=0.2), -1.0, 1.0)
        # |w (x - c)|^2 as a product of matrices: one pass for all basins.
        squares = weights.square()
        linear = (-2 * squares * centres).transpose(1, 2)
        constant = (squares * centres.square()).sum(2).unsqueeze(1)
        squares = squares.transpose(1, 2)

        def evaluate(x: Tensor) -> Tensor:
            near = torch.baddbmm(constant, x, linear).baddbmm_(x.square(), squares).clamp_min_(0.0)
            wall = torch.sigmoid(steepness.unsqueeze(1) * (radius.unsqueeze(1) - near.sqrt()))
            inside = (1 - bend.unsqueeze(1) * near).clamp_min_(0.0)
            return sign * (heights.unsqueeze(1) * wall * inside).amax(2) + torch.bmm(x, slope).squeeze(2)

        return evaluate
