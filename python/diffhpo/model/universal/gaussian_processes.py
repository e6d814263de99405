# SPDX-License-Identifier: Apache-2.0
"""A few Gaussian processes whose hyperparameters a network has read off the context."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_2PI = math.log(2 * math.pi)

#: Added to the diagonal: what float32 needs to factorise a hundred trials of a smooth kernel.
_JITTER = 3e-4


def matern52(r2: Tensor) -> Tensor:
    """(1 + s + s^2 / 3) exp(-s), s = sqrt(5 r^2) (Rasmussen and Williams 2006, eq. 4.17)."""
    s = (5 * r2 + 1e-6).sqrt()
    return (1 + s + s * s / 3) * torch.exp(-s)


def matern12(r2: Tensor) -> Tensor:
    """exp(-r): paths that are continuous and no more, like surfaces with steps."""
    return torch.exp(-(r2 + 1e-6).sqrt())


def squared_exponential(r2: Tensor) -> Tensor:
    """exp(-r^2 / 2)."""
    return torch.exp(-0.5 * r2)


@dataclass(frozen=True)
class GaussianProcesses:
    """K processes for each of B contexts, conditioned on their trials."""

    kernels: tuple[str, ...]
    points: Tensor
    """(B, K, n, P) trials in the coordinates in which each kernel is isotropic."""
    amplitude: Tensor
    """(B, K) prior variance."""
    factor: Tensor
    """(B, K, n, n) lower Cholesky factor of the covariance of the observations."""
    weights: Tensor
    """(B, K, n) covariance^-1 (z - mean)."""
    noise: Tensor
    """(B, K) variance of the observation noise."""
    evidence: Tensor
    """(B, K) log marginal likelihood of the trials."""
    mask: Tensor
    """(B, n) true where a trial exists."""

    @classmethod
    def condition(
        cls,
        kernels: tuple[str, ...],
        points: Tensor,
        residuals: Tensor,
        amplitude: Tensor,
        noise: Tensor,
        mask: Tensor,
    ) -> GaussianProcesses:
        """Condition on trials.

        Args:
            kernels: K names of `_KERNELS`.
            points: (B, K, n, P); n may be 0.
            residuals: (B, K, n) values minus prior means.
            amplitude: (B, K)
            noise: (B, K)
            mask: (B, n) true where a trial exists.
        """
        both = mask.unsqueeze(1).unsqueeze(-1) & mask.unsqueeze(1).unsqueeze(-2)
        covariance = _kernel(kernels, points, points) * amplitude[..., None, None] * both
        diagonal = torch.where(mask.unsqueeze(1), (noise + _JITTER * amplitude).unsqueeze(-1), 1.0)
        covariance = covariance + torch.diag_embed(diagonal)
        factor = torch.linalg.cholesky(covariance)
        residuals = residuals * mask.unsqueeze(1)
        whitened = torch.linalg.solve_triangular(factor, residuals.unsqueeze(-1), upper=False)
        weights = torch.linalg.solve_triangular(factor.mT, whitened, upper=True).squeeze(-1)
        logs = factor.diagonal(dim1=-2, dim2=-1).log().masked_fill(~mask.unsqueeze(1), 0.0).sum(-1)
        count = mask.sum(1, keepdim=True)
        evidence = -0.5 * (whitened**2).sum((-2, -1)) - logs - 0.5 * count * _LOG_2PI
        return cls(kernels, points, amplitude, factor, weights, noise, evidence, mask)

    def posterior(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the residual and variance of the noise-free value at (B, K, N, P), each (B, K, N)."""
        cross = self.cross_covariance(points)
        mean = (cross @ self.weights.unsqueeze(-1)).squeeze(-1)
        explained = torch.linalg.solve_triangular(self.factor, cross.mT, upper=False)
        variance = self.amplitude.unsqueeze(-1) - (explained**2).sum(-2)
        return mean, torch.maximum(variance, 1e-6 * self.amplitude.unsqueeze(-1))

    def joint_covariance(self, points: Tensor) -> Tensor:
        """(B, K, N, N) posterior covariance of the noise-free values at (B, K, N, P)."""
        prior = _kernel(self.kernels, points, points) * self.amplitude[..., None, None]
        cross = self.cross_covariance(points)
        explained = torch.linalg.solve_triangular(self.factor, cross.mT, upper=False)
        return prior - explained.mT @ explained

    def cross_covariance(self, points: Tensor) -> Tensor:
        """(B, K, N, n) prior covariance of points and trials."""
        prior = _kernel(self.kernels, points, self.points) * self.amplitude[..., None, None]
        return prior * self.mask[:, None, None]


_KERNELS = {"matern52": matern52, "matern12": matern12, "squared_exponential": squared_exponential}


def _kernel(kernels: tuple[str, ...], a: Tensor, b: Tensor) -> Tensor:
    """(B, K, N, P), (B, K, M, P) -> (B, K, N, M) correlations."""
    squares = (a**2).sum(-1).unsqueeze(-1) + (b**2).sum(-1).unsqueeze(-2)
    r2 = (squares - 2 * a @ b.mT).clamp_min(0.0)
    return torch.stack([_KERNELS[name](r2[:, k]) for k, name in enumerate(kernels)], dim=1)
