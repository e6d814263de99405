# SPDX-License-Identifier: Apache-2.0
"""Every exact formula against numerical integration of the density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.model import BarDistribution
from diffhpo.model.bar_distribution import normal_borders

_POINTS = torch.tensor([-9.0, -3.1, -1.0, -0.2, 0.0, 0.7, 2.2, 3.3, 8.0], dtype=torch.float64)


@pytest.fixture(params=["few", "many", "uneven"])
def distribution(request: pytest.FixtureRequest) -> BarDistribution:
    """Batch shape (3,), float64."""
    generator = torch.Generator().manual_seed(1)
    borders = {
        "few": torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64),
        "many": normal_borders(64),
        "uneven": torch.tensor([-4.0, -1.5, -1.4, 0.0, 0.1, 3.0], dtype=torch.float64),
    }[request.param]
    logits = torch.randn(3, len(borders) - 1, generator=generator, dtype=torch.float64)
    return BarDistribution(logits, borders)


def pieces(distribution: BarDistribution, *, cut: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and weights of Gauss-Legendre quadrature between the density's jumps and a kink at `cut`."""
    borders = distribution.borders
    low = borders[1] - 12 * (borders[1] - borders[0])
    high = borders[-2] + 12 * (borders[-1] - borders[-2])
    tails = [
        torch.linspace(float(low), float(borders[1]), 25),
        torch.linspace(float(borders[-2]), float(high), 25),
    ]
    edges = torch.cat([*(tail.double() for tail in tails), borders[1:-1]])
    if cut is not None:
        edges = torch.cat([edges, torch.tensor([cut], dtype=torch.float64)])
    edges = edges.unique()
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(20))
    half, middle = edges.diff() / 2, (edges[1:] + edges[:-1]) / 2
    return (middle.unsqueeze(1) + half.unsqueeze(1) * nodes).flatten(), (
        half.unsqueeze(1) * weights
    ).flatten()


def integral(distribution: BarDistribution, function, *, cut: float | None = None) -> torch.Tensor:
    points, weights = pieces(distribution, cut=cut)
    density = distribution.log_prob(points.unsqueeze(1)).exp()
    return (weights * function(points)) @ density


def close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def test_density_integrates_to_one(distribution: BarDistribution) -> None:
    close(integral(distribution, torch.ones_like), torch.ones(3, dtype=torch.float64))


def test_moments(distribution: BarDistribution) -> None:
    mean = integral(distribution, lambda y: y)
    close(distribution.mean, mean)
    close(distribution.variance, integral(distribution, torch.square) - mean.square(), atol=1e-8)


@pytest.mark.parametrize("at", _POINTS.tolist())
def test_cdf_and_improvement(distribution: BarDistribution, at: float) -> None:
    below = integral(distribution, lambda y: (y < at).double(), cut=at)
    close(distribution.cdf(at), below)
    close(distribution.probability_of_improvement(at), 1 - below)
    gain = integral(distribution, lambda y: (y - at).clamp(min=0), cut=at)
    close(distribution.expected_improvement(at), gain)


def test_quantile_inverts_the_cdf(distribution: BarDistribution) -> None:
    levels = torch.tensor([1e-6, 0.01, 0.2, 0.5, 0.77, 0.99, 1 - 1e-6], dtype=torch.float64).unsqueeze(1)
    close(distribution.cdf(distribution.quantile(levels)), levels.expand(-1, 3), atol=1e-12)
    assert bool((distribution.quantile(levels).diff(dim=0) > 0).all())


def test_samples_follow_the_distribution_and_the_seed(distribution: BarDistribution) -> None:
    draws = distribution.sample(20000, seed=3)
    assert draws.shape == (20000, 3)
    assert torch.equal(draws, distribution.sample(20000, seed=3))
    assert not torch.equal(draws, distribution.sample(20000, seed=4))
    levels = torch.linspace(0.05, 0.95, 19, dtype=torch.float64).unsqueeze(1)
    shares = (draws.unsqueeze(0) <= distribution.quantile(levels).unsqueeze(1)).double().mean(1)
    # Four standard deviations of a share.
    assert float((shares - levels).abs().max()) < 4 * 0.5 / math.sqrt(20000)


def test_tails_have_their_median_at_the_outer_border() -> None:
    borders = torch.tensor([-3.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    probabilities = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    distribution = BarDistribution(probabilities.log(), borders)
    close(distribution.cdf(-3.0), torch.tensor(0.15, dtype=torch.float64))
    close(distribution.cdf(2.0), torch.tensor(0.9, dtype=torch.float64))


def test_a_normal_is_reproduced_by_many_bars() -> None:
    borders = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    logits = -0.5 * ((borders[1:] + borders[:-1]) / 2).square()
    distribution = BarDistribution(logits, borders)
    close(distribution.variance, torch.tensor(1.0, dtype=torch.float64), atol=1e-4)
    # E[max(Z, 0)] of a standard normal.
    close(
        distribution.expected_improvement(0.0), torch.tensor(1 / math.sqrt(2 * math.pi)).double(), atol=1e-4
    )


def test_affine_moves_and_scales(distribution: BarDistribution) -> None:
    moved = distribution.affine(10.0, 3.0)
    close(moved.mean, 10 + 3 * distribution.mean)
    close(moved.variance, 9 * distribution.variance)
    close(moved.expected_improvement(11.0), 3 * distribution.expected_improvement(1 / 3))
    close(moved.log_prob(8.0), distribution.log_prob(-2 / 3) - math.log(3))


def test_improbable_gains_keep_their_digits() -> None:
    """Beyond the last border the survival function is far below 1's rounding."""
    distribution = BarDistribution(torch.zeros(4), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
    exact = BarDistribution(torch.zeros(4).double(), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).double())
    survival = distribution.probability_of_improvement(9.0)
    assert 0 < float(survival) < 1e-7
    torch.testing.assert_close(survival.double(), exact.probability_of_improvement(9.0), rtol=1e-4, atol=0)
    assert float(distribution.expected_improvement(9.0)) >= 0


def test_log_prob_is_differentiable_in_the_logits() -> None:
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([-6.0, 0.3], dtype=torch.float64)
    borders = torch.linspace(-2, 2, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: BarDistribution(a, borders).log_prob(y), logits)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.full((2, 8), -1e6)
    logits[0, 0], logits[1, 7] = 1e6, 1e6
    distribution = BarDistribution(logits, normal_borders(8).float())
    for value in (
        distribution.mean,
        distribution.variance,
        distribution.cdf(0.0),
        distribution.quantile(0.5),
    ):
        assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(distribution.sample(100, seed=0)).all())


def test_no_candidates() -> None:
    distribution = BarDistribution(torch.zeros(0, 8), normal_borders(8))
    assert distribution.mean.shape == distribution.cdf(0.0).shape == (0,)
    assert distribution.sample(3, seed=0).shape == (3, 0)


def test_bad_arguments_are_refused() -> None:
    borders = torch.linspace(-1, 1, 5)
    good = BarDistribution(torch.zeros(3, 4), borders)
    for make in (
        lambda: BarDistribution(torch.zeros(4, dtype=torch.long), borders),
        lambda: BarDistribution(torch.zeros(5), borders),
        lambda: BarDistribution(torch.zeros(4), torch.zeros(5)),
        lambda: BarDistribution(torch.zeros(4), torch.tensor([0.0, 1, 2, 3, math.inf])),
        lambda: good.affine(0.0, 0.0),
        lambda: good.affine(math.nan, 1.0),
        lambda: good.cdf(torch.zeros(2)),
        lambda: good.quantile(0.0),
        lambda: good.quantile(1.0),
        lambda: good.sample(-1, seed=0),
        lambda: normal_borders(1),
        lambda: normal_borders(4, stretch=0.0),
    ):
        with pytest.raises(InputError):
            make()
