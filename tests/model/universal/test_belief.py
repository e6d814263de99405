# SPDX-License-Identifier: Apache-2.0
"""Beliefs against processes of scikit-learn and BoTorch that were told the believed value."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from tests.quadratic_history import quadratic_history

from diffhpo.acquisition import _believe, score_candidates
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.model.universal.belief import Belief
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import JITTER, GaussianProcesses
from diffhpo.ranker import Ranker

AMPLITUDE, NOISE, WEIGHTS = np.array([0.7, 1.0, 2.0]), np.array([0.1, 0.02, 0.3]), np.array([0.5, 0.2, 0.3])
KERNELS = Matern(nu=2.5), Matern(nu=0.5), RBF()
RNG = np.random.default_rng(0)
TRIALS, VALUES, QUERY = RNG.normal(size=(6, 2)), RNG.normal(size=6), RNG.normal(size=(7, 2))


def belief(noisy):
    processes = GaussianProcesses.condition(
        ("matern52", "matern12", "squared_exponential"),
        torch.tensor(TRIALS).expand(1, 3, -1, -1),
        torch.tensor(VALUES).expand(1, 3, -1),
        torch.tensor(AMPLITUDE)[None],
        torch.tensor(NOISE)[None],
        torch.ones(1, 6, dtype=torch.bool),
    )
    points = torch.tensor(QUERY).expand(1, 3, -1, -1)
    mean, variance = processes.posterior(points)
    variance = variance.double() + (torch.tensor(NOISE)[None, :, None] if noisy else 0)
    weights = torch.tensor(WEIGHTS).log().expand(1, 7, 3)
    mixture = GaussianMixture(weights, mean.double().mT, variance.sqrt().mT)
    return Belief(mixture, processes.joint(points), torch.tensor([[VALUES.max()]]), noisy=noisy)


def expected(noisy, believed):
    """Log expected improvements by quadrature, of processes that are fitted anew after each belief."""
    x, y = TRIALS, [VALUES] * 3
    weights, best = np.tile(WEIGHTS, (7, 1)), VALUES.max()

    def predictions():
        means, deviations = np.empty((7, 3)), np.empty((7, 3))
        for k, kernel in enumerate(KERNELS):
            process = GaussianProcessRegressor(
                ConstantKernel(AMPLITUDE[k], "fixed") * kernel,
                alpha=NOISE[k] + JITTER * AMPLITUDE[k],
                optimizer=None,
            ).fit(x, y[k])
            means[:, k], deviations[:, k] = process.predict(QUERY, return_std=True)
        return means, np.sqrt(deviations**2 + (NOISE if noisy else 0))

    for index in believed:
        means, deviations = predictions()
        value = weights[index] @ means[index]
        weights = weights * norm.pdf(value, means[index], deviations[index])
        weights /= weights.sum(axis=1, keepdims=True)
        x, y = np.concatenate([x, QUERY[[index]]]), [np.append(old, value) for old in y]
        best = max(best, value)
    means, deviations = predictions()

    def improvement(row):
        def integrand(z):
            return (z - best) * weights[row] @ norm.pdf(z, means[row], deviations[row])

        return quad(integrand, best, best + 40, points=[best + 0.1, best + 1, best + 5], limit=200)[0]

    return np.log([improvement(row) for row in range(7)])


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("believed", [[], [3], [3, 0, 5]])
def test_improvements_are_those_of_processes_that_were_told(noisy, believed):
    ours = belief(noisy)
    for index in believed:
        ours.believe(index)
    found = ours.log_improvement().numpy()
    # A root of 1e-6 in the kernels is the largest difference.
    np.testing.assert_allclose(np.exp(found), np.exp(expected(noisy, believed)), atol=4e-3)


def test_beliefs_keep_no_graph():
    """A batch of a model in training would keep the graph of every choice before."""
    ours = belief(True)
    ours._mixture = GaussianMixture(
        ours._mixture.log_weights, ours._mixture.means.clone().requires_grad_(), ours._mixture.deviations
    )
    assert not ours.log_improvement().requires_grad
    ours.believe(1)
    assert not ours._mixture.means.requires_grad
    assert not ours._best.requires_grad


def test_nothing_is_left_to_gain_from_what_was_believed():
    """Processes that are sure and disagree: each must give up its own hope for the configuration."""
    ours = belief(False)
    hopes = torch.tensor([-1.0, 0.0, 3.0]).double().expand(1, 7, 3)
    weights = torch.tensor(WEIGHTS).log().expand(1, 7, 3)
    ours._mixture = GaussianMixture(weights, hopes, torch.full_like(hopes, 0.5))
    ours._best = torch.zeros(1, 1).double()
    assert bool((ours.log_improvement().exp() > 0.9).all())
    ours.believe(2)
    assert ours.log_improvement().exp()[2] < 0.25


def test_a_gaussian_process_believes_as_botorch_does():
    history, points = quadratic_history(9), np.random.default_rng(1).random((30, 3))
    ours = Ranker(history, warp=True).belief(points)
    model, best = Ranker(history, warp=True)._model, Ranker(history, warp=True)._best
    x = torch.from_numpy(points)
    for index in (4, 20, 11):
        theirs = score_candidates(model, x, best).numpy()
        seen = np.exp(theirs) > 1e-3
        np.testing.assert_allclose(ours.log_improvement().numpy()[seen], theirs[seen], atol=5e-3)
        ours.believe(index)
        model, best = _believe(model, x[index], best)


def test_a_gaussian_process_of_one_trial_believes():
    history = quadratic_history(1)
    scores = Ranker(history).belief(np.array([[0.5, 0.5, 0.5], history.x[0]])).log_improvement()
    assert scores[0] > scores[1]
    assert fit_gaussian_process(torch.tensor(history.x), torch.tensor(history.y)).fitting_retries == 0
