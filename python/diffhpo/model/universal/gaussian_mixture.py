# SPDX-License-Identifier: Apache-2.0
"""A mixture of normal distributions: what the universal Predictor says of each candidate's value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def _log_normal_cdf(u: Tensor) -> Tensor:
    return torch.special.log_ndtr(u)


def _log_unit_improvement(u: Tensor) -> Tensor:
    """log(phi(u) + u Phi(u)), exact where it underflows (Ament et al. 2023, arXiv 2310.20708, eq. 9)."""
    middle = u.clamp_min(-1.0)
    direct = torch.log(torch.exp(-0.5 * middle**2 - _LOG_ROOT_2PI) + middle * torch.special.ndtr(middle))
    far = u.clamp_max(-1.0)
    # Mills' ratio by erfcx: phi(u) + u Phi(u) = phi(u) (1 - |u| Phi(u) / phi(u)).
    mills = math.sqrt(math.pi / 2) * torch.special.erfcx(-far / math.sqrt(2))
    # Below -25 the difference 1 - |u| mills has lost its digits; its asymptotic series has not.
    series = (1 - 3 / far**2 + 15 / far**4 - 105 / far**6) / far**2
    remainder = torch.where(far > -25, 1 + far * mills, series)
    tail = -0.5 * far**2 - _LOG_ROOT_2PI + remainder.clamp_min(1e-300).log()
    return torch.where(u > -1, direct, tail)


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k exp(log_weights_k) N(means_k, deviations_k^2), for any batch of candidates.

    Args:
        log_weights: (..., K) normalised log weights.
        means: (..., K)
        deviations: (..., K), positive.

    Example:
        >>> standard = GaussianMixture(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1))
        >>> round(standard.expected_improvement(torch.zeros(())).item(), 4)  # 1 / sqrt(2 pi)
        0.3989
    """

    log_weights: Tensor
    means: Tensor
    deviations: Tensor

    def double(self) -> GaussianMixture:
        """The same in float64."""
        return GaussianMixture(self.log_weights.double(), self.means.double(), self.deviations.double())

    @property
    def mean(self) -> Tensor:
        """(...,)"""
        return (self.log_weights.exp() * self.means).sum(-1)

    @property
    def variance(self) -> Tensor:
        """(...,), of the whole mixture."""
        second = (self.log_weights.exp() * (self.deviations**2 + self.means**2)).sum(-1)
        return second - self.mean**2

    def log_prob(self, z: Tensor) -> Tensor:
        """log density at (...,) values."""
        u = (z.unsqueeze(-1) - self.means) / self.deviations
        each = -0.5 * u**2 - self.deviations.log() - _LOG_ROOT_2PI
        return torch.logsumexp(self.log_weights + each, dim=-1)

    def cdf(self, z: Tensor) -> Tensor:
        """P(Z <= z) at (...,) values."""
        u = (z.unsqueeze(-1) - self.means) / self.deviations
        return (self.log_weights.exp() * torch.special.ndtr(u)).sum(-1)

    def log_probability_of_improvement(self, best: Tensor) -> Tensor:
        """log P(Z > best), best (...,) or a scalar."""
        u = (self.means - best.unsqueeze(-1)) / self.deviations
        return torch.logsumexp(self.log_weights + _log_normal_cdf(u), dim=-1)

    def log_expected_improvement(self, best: Tensor) -> Tensor:
        """log E[max(Z - best, 0)], exact also where it underflows."""
        u = (self.means - best.unsqueeze(-1)) / self.deviations
        each = _log_unit_improvement(u) + self.deviations.log()
        return torch.logsumexp(self.log_weights + each, dim=-1)

    def expected_improvement(self, best: Tensor) -> Tensor:
        """E[max(Z - best, 0)]."""
        return self.log_expected_improvement(best).exp()

    def upper_confidence_bound(self, beta: float) -> Tensor:
        """mean + sqrt(beta) deviation, with those of the whole mixture."""
        return self.mean + math.sqrt(beta) * self.variance.clamp_min(0).sqrt()

    def sample(self, generator: torch.Generator) -> Tensor:
        """One independent draw for every candidate, (...,)."""
        weights = self.log_weights.exp().flatten(0, -2)
        chosen = torch.multinomial(weights, 1, generator=generator).view(*self.means.shape[:-1], 1)
        noise = torch.randn(chosen.shape, generator=generator, dtype=self.means.dtype)
        return (self.means.gather(-1, chosen) + self.deviations.gather(-1, chosen) * noise).squeeze(-1)
