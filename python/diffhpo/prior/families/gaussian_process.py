# SPDX-License-Identifier: Apache-2.0
"""Draws of Gaussian processes by random Fourier features."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.random_draws import bernoulli, integers, log_uniform, normal, uniform


class GaussianProcessDraws:
    """f(x) = sqrt(2 / F) sum_i a_i cos(w_i x / l + p_i) + trend (Rahimi and Recht, 2007).

    w_i is normal for the RBF kernel and Student-t with 2 nu degrees of freedom for Matern nu in {3/2, 5/2}.
    Length scales are log-normal over dimensions, often so wide that one to four dimensions matter; a
    quarter of the features has shorter ones: a sum of two scales.
    """

    def __init__(self, features: int = 128) -> None:
        self.features = features

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        F = self.features
        frequencies = normal(generator, batch, dim, F)
        # chi2_k / k is the mean of k squared normals; infinitely many of them is the RBF.
        squares = normal(generator, batch, 5, F).square()
        kernel = integers(generator, batch, 1, 1, low=0, high=3)
        mixing = torch.where(
            kernel == 0,
            torch.ones_like(squares[:, :1]),
            torch.where(kernel == 1, squares[:, :3].mean(1, keepdim=True), squares.mean(1, keepdim=True)),
        )
        frequencies /= mixing.clamp_min_(1e-3).sqrt_()
        spread = uniform(generator, batch, 1, low=0.1, high=1.4)
        median = log_uniform(generator, batch, 1, low=0.15, high=0.8) * dim**0.25
        lengths = median * torch.exp(spread * normal(generator, batch, dim))
        frequencies /= lengths.clamp_(0.04, 50.0).unsqueeze(2)
        short = F // 4
        frequencies[:, :, :short] /= log_uniform(generator, batch, 1, 1, low=2.0, high=6.0)
        share = uniform(generator, batch, 1, low=0.0, high=0.5).square_()
        amplitudes = normal(generator, batch, F)
        amplitudes[:, :short] *= (share * 2 / short).sqrt()
        amplitudes[:, short:] *= ((1 - share) * 2 / (F - short)).sqrt()
        phases = uniform(generator, batch, 1, F, high=2 * math.pi)
        trended = bernoulli(generator, batch, 1, 1, probability=0.3)
        slopes = normal(generator, batch, dim, 1) * trended / math.sqrt(dim) * 2

        def evaluate(x: Tensor) -> Tensor:
            waves = torch.baddbmm(phases, x, frequencies).cos_()
            return torch.baddbmm(torch.bmm(x, slopes), waves, amplitudes.unsqueeze(2)).squeeze(2)

        return evaluate
