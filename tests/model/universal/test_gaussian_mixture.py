# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from diffhpo.model.universal import GaussianMixture

WEIGHTS, MEANS, DEVIATIONS = [0.2, 0.5, 0.3], [-1.0, 0.5, 2.0], [0.3, 1.0, 0.1]


@pytest.fixture
def mixture():
    tensors = (torch.tensor(v, dtype=torch.float64).unsqueeze(0) for v in (WEIGHTS, MEANS, DEVIATIONS))
    weights, means, deviations = tensors
    return GaussianMixture(weights.log(), means, deviations)


def density(z):
    return sum(w * stats.norm.pdf(z, m, s) for w, m, s in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True))


@pytest.mark.parametrize("z", [-3.0, 0.1, 1.9, 2.5])
def test_density_and_distribution(mixture, z):
    value = torch.tensor([z], dtype=torch.float64)
    assert mixture.log_prob(value).item() == pytest.approx(np.log(density(z)), rel=1e-10)
    below = integrate.quad(density, -12, z, points=[p for p in MEANS if p < z], limit=200)[0]
    assert mixture.cdf(value).item() == pytest.approx(below, rel=1e-6)


@pytest.mark.parametrize("best", [-2.0, 0.0, 1.5, 2.2, 4.0])
def test_improvements_are_integrals(mixture, best):
    threshold = torch.tensor([best], dtype=torch.float64)
    points = [p for p in MEANS if p > best]
    expected = integrate.quad(lambda z: (z - best) * density(z), best, 14, points=points or None, limit=300)[
        0
    ]
    assert mixture.expected_improvement(threshold).item() == pytest.approx(expected, rel=1e-6)
    above = integrate.quad(density, best, 14, points=points or None, limit=300)[0]
    assert mixture.log_probability_of_improvement(threshold).exp().item() == pytest.approx(above, rel=1e-6)


def test_mean_and_variance_are_integrals(mixture):
    def moment(power):
        return integrate.quad(lambda z: z**power * density(z), -12, 14, points=MEANS, limit=300)[0]

    assert mixture.mean.item() == pytest.approx(moment(1), rel=1e-6)
    assert mixture.variance.item() == pytest.approx(moment(2) - moment(1) ** 2, rel=1e-6)
    bound = mixture.upper_confidence_bound(4.0).item()
    assert bound == pytest.approx(moment(1) + 2 * np.sqrt(moment(2) - moment(1) ** 2), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_improvement_against_botorch_far_into_the_tail(dtype):
    from botorch.acquisition.analytic import _log_ei_helper

    u = torch.cat([torch.linspace(-200, -40, 33), torch.linspace(-40, 12, 400)]).to(dtype)
    standard = GaussianMixture(
        torch.zeros(len(u), 1, dtype=dtype), u.unsqueeze(1), torch.ones(len(u), 1).to(dtype)
    )
    ours = standard.log_expected_improvement(torch.zeros((), dtype=dtype))
    theirs = _log_ei_helper(u.double())
    bound = 3e-4 if dtype is torch.float32 else 1e-6
    assert ((ours.double() - theirs).abs() <= bound + 1e-7 * theirs.abs()).all()


def test_log_improvement_has_a_gradient_everywhere():
    means = torch.linspace(-80, 10, 200).unsqueeze(1).requires_grad_(True)
    mixture = GaussianMixture(torch.zeros(200, 1), means, torch.ones(200, 1))
    mixture.log_expected_improvement(torch.zeros(())).sum().backward()
    assert bool(torch.isfinite(means.grad).all())
    assert bool((means.grad > 0).all())


def test_samples_follow_the_distribution(mixture):
    many = GaussianMixture(
        *(part.expand(20_000, -1) for part in (mixture.log_weights, mixture.means, mixture.deviations))
    )
    draws = many.sample(torch.Generator().manual_seed(0)).numpy()
    for z in (-1.0, 0.5, 1.95):
        assert (draws <= z).mean() == pytest.approx(mixture.cdf(torch.tensor([z])).item(), abs=0.015)
