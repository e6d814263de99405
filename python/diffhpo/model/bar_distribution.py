# SPDX-License-Identifier: Apache-2.0
"""The bar distribution: a histogram with half-normal tails, as a network can predict it."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from diffhpo.errors import InputError

#: Median of the half-normal distribution of scale 1: the normal quantile of 3/4.
_HALF_NORMAL_MEDIAN = 0.6744897501960817
_HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)


def normal_borders(bars: int, stretch: float = 1.5) -> Tensor:
    """(bars + 1,) float64 borders for standardised values: stretched quantiles of the standard normal.

    Bars are of equal mass under a normal of standard deviation `stretch`, the outermost borders at a
    quarter of such a mass.

    Raises:
        InputError: if there are fewer than two bars or `stretch` is not positive.

    Example:
        >>> normal_borders(4, stretch=1.0).round(decimals=2).tolist()
        [-1.53, -0.67, 0.0, 0.67, 1.53]
    """
    if bars < 2 or not 0 < stretch < math.inf:
        raise InputError(f"bars={bars}, stretch={stretch}: at least 2 bars and a positive stretch are needed")
    levels = torch.arange(bars + 1, dtype=torch.float64) / bars
    return stretch * torch.special.ndtri(levels.clamp(1 / (4 * bars), 1 - 1 / (4 * bars)))


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)


class BarDistribution:
    """A batch of distributions over the real line, given by logits of K bars (Riemann distribution).

    A bar's probability is spread evenly between its borders; those of the first and the last bar follow
    half-normals that begin at the inner border and have their median at the outer one, so that every real
    number has a density (Mueller et al. 2022, "Transformers can do Bayesian inference", arXiv 2112.10510,
    appendix E). All moments, integrals and inverses are exact up to rounding, in the dtype of `logits`.

    Args:
        logits: (..., K) unnormalised log-probabilities; (...) is called the batch shape below.
        borders: (K + 1,) strictly increasing; the same for the whole batch.

    Raises:
        InputError: if shapes do not fit, or borders are not finite and increasing.

    Example:
        >>> prediction = BarDistribution(torch.zeros(4), torch.linspace(-2, 2, 5))
        >>> float(prediction.mean), float(prediction.cdf(torch.tensor(0.5)))
        (0.0, 0.625)
    """

    def __init__(self, logits: Tensor, borders: Tensor) -> None:
        if not logits.is_floating_point() or logits.ndim < 1 or logits.shape[-1] < 2:
            raise InputError(
                f"logits have shape {tuple(logits.shape)}, {logits.dtype}; floats (..., K >= 2) needed"
            )
        if tuple(borders.shape) != (logits.shape[-1] + 1,):
            raise InputError(
                f"borders have shape {tuple(borders.shape)}; ({logits.shape[-1] + 1},) is needed"
            )
        if not bool(torch.isfinite(borders).all() & (borders.diff() > 0).all()):
            raise InputError("borders must be finite and strictly increasing; they are not")
        self.logits = logits
        self.borders = borders.to(logits.device, logits.dtype)

    @property
    def bars(self) -> int:
        """Number of bars K."""
        return self.logits.shape[-1]

    @functools.cached_property
    def log_probabilities(self) -> Tensor:
        """(..., K) log-probability of every bar."""
        return self.logits.log_softmax(-1)

    @functools.cached_property
    def probabilities(self) -> Tensor:
        """(..., K) probability of every bar."""
        return self.logits.softmax(-1)

    @property
    def _widths(self) -> Tensor:
        return self.borders.diff()

    @property
    def _tail_scales(self) -> tuple[Tensor, Tensor]:
        return self._widths[0] / _HALF_NORMAL_MEDIAN, self._widths[-1] / _HALF_NORMAL_MEDIAN

    @property
    def _bar_means(self) -> Tensor:
        means = (self.borders[:-1] + self.borders[1:]) / 2
        left, right = self._tail_scales
        means[0] = self.borders[1] - left * _HALF_NORMAL_MEAN
        means[-1] = self.borders[-2] + right * _HALF_NORMAL_MEAN
        return means

    @property
    def _bar_variances(self) -> Tensor:
        variances = self._widths.square() / 12
        left, right = self._tail_scales
        variances[0] = left.square() * (1 - 2 / math.pi)
        variances[-1] = right.square() * (1 - 2 / math.pi)
        return variances

    @functools.cached_property
    def mean(self) -> Tensor:
        """(...) expectation."""
        return self.probabilities @ self._bar_means

    @functools.cached_property
    def variance(self) -> Tensor:
        """(...) variance."""
        deviations = self._bar_means - self.mean.unsqueeze(-1)
        return (self.probabilities * (self._bar_variances + deviations.square())).sum(-1)

    def affine(self, location: float, scale: float) -> BarDistribution:
        """The distribution of location + scale * y: from standardised values back to those observed.

        Raises:
            InputError: if `scale` is not positive or one of them not finite.
        """
        if not (0 < scale < math.inf and math.isfinite(location)):
            raise InputError(f"location={location}, scale={scale}: finite, and scale > 0, is needed")
        return BarDistribution(self.logits, self.borders * scale + location)

    def _below(self, y: Tensor) -> Tensor:
        """(..., K) the share of every bar that lies below y (...)."""
        y = y.unsqueeze(-1)
        below = ((y - self.borders[:-1]) / self._widths).clamp(0, 1)
        left, right = self._tail_scales
        # erfc keeps the small shares of the far left tail; the right tail's complement is in `survival`.
        first = torch.erfc((self.borders[1] - y).clamp(min=0) / (left * math.sqrt(2)))
        last = torch.erf((y - self.borders[-2]).clamp(min=0) / (right * math.sqrt(2)))
        return torch.cat([first, below[..., 1:-1], last], dim=-1)

    def _above(self, y: Tensor) -> Tensor:
        y = y.unsqueeze(-1)
        above = ((self.borders[1:] - y) / self._widths).clamp(0, 1)
        left, right = self._tail_scales
        first = torch.erf((self.borders[1] - y).clamp(min=0) / (left * math.sqrt(2)))
        last = torch.erfc((y - self.borders[-2]).clamp(min=0) / (right * math.sqrt(2)))
        return torch.cat([first, above[..., 1:-1], last], dim=-1)

    def _values(self, name: str, y: Tensor | float) -> Tensor:
        values = torch.as_tensor(y, dtype=self.logits.dtype, device=self.logits.device)
        try:
            torch.broadcast_shapes(values.shape, self.logits.shape[:-1])
        except RuntimeError:
            raise InputError(
                f"{name} has shape {tuple(values.shape)}; one that broadcasts with the batch shape "
                f"{tuple(self.logits.shape[:-1])} is needed"
            ) from None
        return values

    def cdf(self, y: Tensor | float) -> Tensor:
        """P(Y <= y), for y that broadcasts with the batch shape."""
        return (self.probabilities * self._below(self._values("y", y))).sum(-1)

    def probability_of_improvement(self, best: Tensor | float) -> Tensor:
        """P(Y > best), for best that broadcasts with the batch shape."""
        return (self.probabilities * self._above(self._values("best", best))).sum(-1)

    def log_prob(self, y: Tensor | float) -> Tensor:
        """Log-density at y, which broadcasts with the batch shape; differentiable in the logits."""
        values = self._values("y", y)
        index = torch.searchsorted(self.borders[1:-1], values.contiguous(), right=True)
        shape = torch.broadcast_shapes(values.shape, self.logits.shape[:-1])
        index = index.expand(shape)
        log_mass = self.log_probabilities.expand(*shape, -1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
        left, right = self._tail_scales
        log_density = -self._widths.log()[index]
        for bar, edge, scale in ((0, self.borders[1], left), (self.bars - 1, self.borders[-2], right)):
            z = (values - edge) / scale
            half_normal = 0.5 * math.log(2 / math.pi) - scale.log() - 0.5 * z.square()
            log_density = torch.where(index == bar, half_normal.expand(shape), log_density)
        return log_mass + log_density

    def quantile(self, level: Tensor | float) -> Tensor:
        """The inverse of `cdf` at levels in (0, 1) that broadcast with the batch shape.

        Raises:
            InputError: if a level lies outside (0, 1).
        """
        levels = self._values("level", level)
        if not bool(((levels > 0) & (levels < 1)).all()):
            raise InputError("level must lie strictly between 0 and 1; it does not")
        shape = torch.broadcast_shapes(levels.shape, self.logits.shape[:-1])
        probabilities = self.probabilities.expand(*shape, -1)
        cumulative = probabilities.cumsum(-1)
        # Rounding may leave the last sum below the level.
        index = (cumulative[..., :-1] <= levels.unsqueeze(-1)).sum(-1)
        mass = probabilities.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        before = cumulative.gather(-1, index.unsqueeze(-1)).squeeze(-1) - mass
        tiny = torch.finfo(self.logits.dtype).tiny
        share = ((levels - before) / mass.clamp(min=tiny)).clamp(0, 1)
        out = self.borders[index] + share * self._widths[index]
        left, right = self._tail_scales
        eps = torch.finfo(self.logits.dtype).eps
        # The end of a tail is infinitely far; a share that rounds to it stays finite.
        low = self.borders[1] + left * torch.special.ndtri(share.clamp(tiny, 1) / 2)
        high = self.borders[-2] - right * torch.special.ndtri((1 - share).clamp(min=eps) / 2)
        out = torch.where(index == 0, low, out)
        return torch.where(index == self.bars - 1, high, out)

    def expected_improvement(self, best: Tensor | float) -> Tensor:
        """E[max(Y - best, 0)], for best that broadcasts with the batch shape; larger values are better."""
        values = self._values("best", best).unsqueeze(-1)
        above = (self.borders[1:] - values).clamp(min=0)
        partly = above.square() / (2 * self._widths)
        gains = torch.where(values <= self.borders[:-1], self._bar_means - values, partly)
        left, right = self._tail_scales
        # The left tail is edge - left u, the right one edge + right u, with u half-normal.
        reach = (self.borders[1] - values).clamp(min=0) / left
        first = left * (
            reach * torch.erf(reach / math.sqrt(2))
            - 2 * (1 / math.sqrt(2 * math.pi) - _normal_density(reach))
        )
        excess = (values - self.borders[-2]) / right
        beyond = right * (2 * _normal_density(excess) - excess * torch.erfc(excess / math.sqrt(2)))
        last = torch.where(excess <= 0, self._bar_means[-1] - values, beyond.clamp(min=0))
        gains = torch.cat([first.clamp(min=0), gains[..., 1:-1], last], dim=-1)
        return (self.probabilities * gains).sum(-1)

    def sample(self, count: int, *, seed: int) -> Tensor:
        """(count, ...) independent draws; the seed alone decides which.

        Raises:
            InputError: if `count` is negative.
        """
        if count < 0:
            raise InputError(f"count is {count}; 0 or more is needed")
        generator = torch.Generator().manual_seed(seed)
        shape = (count, *self.logits.shape[:-1])
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        eps = torch.finfo(self.logits.dtype).eps
        return self.quantile(uniform.to(self.logits.device, self.logits.dtype).clamp(eps, 1 - eps))
