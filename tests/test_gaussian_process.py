# SPDX-License-Identifier: Apache-2.0
"""The Gaussian process: against a closed form, BoTorch's own fit, and unkind histories."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms.outcome import Standardize
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.mlls import ExactMarginalLogLikelihood

from diffhpo import gaussian_process_fit
from diffhpo.errors import DiffHPOError, InputError
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.gaussian_process_fit import (
    MAX_TRIALS,
    fit_hyperparameters,
    lengthscale_prior,
    noise_prior,
    with_other_trials,
)
from diffhpo.history import History


def _data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, d))
    y = 3 + np.sin(6 * x[:, 0]) - x[:, -1] ** 2 + 0.05 * rng.normal(size=n)
    return x, y


def _posterior_in_numpy(model, x, y, points, kernel):
    """Rasmussen and Williams (2006), eq. 2.25 and 2.26 with a constant mean, by the normal equations."""
    lengthscale = model.covar_module.lengthscale.detach().numpy().ravel()
    noise, constant = model.likelihood.noise.item(), model.mean_module.constant.item()
    scale = y.std(ddof=1)
    z = (y - y.mean()) / scale

    def covariance(a, b):
        squared = (((a[:, None] - b[None]) / lengthscale) ** 2).sum(-1)
        if kernel == "rbf":
            return np.exp(-squared / 2)
        distance = np.sqrt(5 * squared)
        return (1 + distance + 5 * squared / 3) * np.exp(-distance)

    solved = np.linalg.solve(covariance(x, x) + noise * np.eye(len(x)), covariance(x, points))
    mean = constant + solved.T @ (z - constant)
    variance = 1 - (covariance(x, points) * solved).sum(0)
    return y.mean() + scale * mean, scale**2 * variance


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (12, 3), (40, 6)])
def test_posterior_is_the_closed_form(kernel, n, d):
    x, y = _data(n, d)
    model = fit_gaussian_process(torch.tensor(x), torch.tensor(y), kernel=kernel)
    points = np.random.default_rng(1).random((30, d))
    posterior = model.posterior(torch.tensor(points).unsqueeze(1))
    mean, variance = _posterior_in_numpy(model, x, y, points, kernel)
    np.testing.assert_allclose(posterior.mean.detach().numpy().ravel(), mean, rtol=1e-8)
    np.testing.assert_allclose(posterior.variance.detach().numpy().ravel(), variance, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
@pytest.mark.parametrize(("n", "d"), [(5, 3), (25, 4)])
def test_fit_is_as_good_as_botorchs(kernel, n, d):
    x, y = _data(n, d)
    ours = fit_gaussian_process(torch.tensor(x), torch.tensor(y), kernel=kernel)
    theirs = SingleTaskGP(
        torch.tensor(x),
        torch.tensor(y).unsqueeze(1),
        covar_module=get_covar_module_with_dim_scaled_prior(d, use_rbf_kernel=kernel == "rbf"),
        outcome_transform=Standardize(m=1),
    )
    fit_gpytorch_mll(ExactMarginalLogLikelihood(theirs.likelihood, theirs))

    def objective(model):
        model.train()
        likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
        value = n * likelihood(model(*model.train_inputs), model.train_targets).item()
        model.eval()
        return value

    assert objective(ours) > objective(theirs) - 1e-3
    lengthscales = [model.covar_module.lengthscale.detach().numpy() for model in (ours, theirs)]
    # Towards infinity the likelihood is flat in a lengthscale, so only the short ones are determined.
    np.testing.assert_allclose(*lengthscales, rtol=0.2)


def test_objective_is_gpytorchs_and_its_gradient_is_right():
    x, y = _data(9, 2)
    model = fit_gaussian_process(torch.tensor(x), torch.tensor(y))
    objective = gaussian_process_fit._NegativeLogPosterior(
        x, model.train_targets.numpy(), "matern52", lengthscale_prior(2), noise_prior()
    )
    parameters = np.log([0.3, 0.7, 0.01])
    with torch.no_grad():
        model.covar_module.lengthscale = torch.tensor([0.3, 0.7])
        model.likelihood.noise = torch.tensor(0.01, dtype=torch.float64)
        model.mean_module.constant.fill_(objective.mean(parameters))
    model.train()
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    expected = -9 * likelihood(model(*model.train_inputs), model.train_targets).item()
    value, gradient = objective(parameters)
    assert value == pytest.approx(expected, rel=1e-9)
    for index in range(3):
        step = 1e-5 * np.eye(3)[index]
        numeric = (objective(parameters + step)[0] - objective(parameters - step)[0]) / 2e-5
        assert gradient[index] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    "values", [[2.0], [0.1, 0.1, 0.1], [1.0, 3.0, -4.0], [1e300, -1e300, 5.0], [1e-300, 0.0, 1.0]]
)
def test_values_are_standardised_as_botorchs_model_has_them(values):
    x = np.random.default_rng(0).random((len(values), 2))
    fit = fit_hyperparameters(History(x, values))
    model = fit_gaussian_process(torch.tensor(x), torch.tensor(values, dtype=torch.float64))
    np.testing.assert_allclose(fit.z, model.train_targets.numpy(), rtol=1e-14)
    assert fit.location == pytest.approx(model.outcome_transform.means.item(), rel=1e-14)
    assert fit.scale == pytest.approx(model.outcome_transform.stdvs.item(), rel=1e-14)


def test_same_data_same_model_and_global_state_is_untouched():
    x, y = _data(15, 3)
    torch.manual_seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = fit_gaussian_process(torch.tensor(x), torch.tensor(y))
    second = fit_gaussian_process(torch.tensor(x), torch.tensor(y))
    assert torch.equal(first.covar_module.lengthscale, second.covar_module.lengthscale)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[0.3, 0.4]], [2.0]),
        ([[0.3, 0.4], [0.3, 0.4]], [1.0, 2.0]),
        ([[0.3, 0.4], [0.5, 0.4], [0.1, 0.1]], [0.1, 0.1, 0.1]),
        ([[0.3, 0.4], [0.5, 0.4], [0.1, 0.1]], [1e300, -1e300, 5.0]),
        ([[0.3, 0.4], [0.5, 0.4], [0.1, 0.1]], [1e-300, 2e-300, 0.0]),
        ([[0.0, 0.0], [1e-9, 0.0], [2e-9, 0.0]], [1.0, -1.0, 1.0]),
    ],
)
def test_unkind_histories_give_finite_predictions(x, y):
    model = fit_gaussian_process(torch.tensor(x), torch.tensor(y, dtype=torch.float64))
    posterior = model.posterior(torch.rand(5, 1, 2, dtype=torch.float64))
    assert torch.isfinite(posterior.mean).all()
    assert torch.isfinite(posterior.variance).all()


@pytest.mark.parametrize(("scale", "offset"), [(1e-12, 0.0), (1.0, 1e6), (1e50, 0.0)])
def test_scale_and_offset_of_the_values_do_not_matter(scale, offset):
    x, y = _data(12, 2)
    points = torch.rand(5, 1, 2, dtype=torch.float64)
    plain = fit_gaussian_process(torch.tensor(x), torch.tensor(y)).posterior(points).mean
    other = fit_gaussian_process(torch.tensor(x), torch.tensor(y * scale + offset)).posterior(points).mean
    torch.testing.assert_close((other - offset) / scale, plain, rtol=1e-5, atol=1e-6)


def test_other_trials_keep_lengthscales_and_noise_alone():
    x, y = _data(30, 3)
    y = 5 + 100 * y
    fit = fit_hyperparameters(History(x[:12], y[:12]))
    grown = with_other_trials(fit, History(x, y))
    np.testing.assert_array_equal(grown.lengthscale, fit.lengthscale)
    assert grown.noise == fit.noise
    assert (grown.location, grown.scale) == pytest.approx((y.mean(), y.std(ddof=1)))
    np.testing.assert_allclose(grown.location + grown.scale * grown.z, y)
    # The generalised least-squares mean (Rasmussen and Williams 2006, eq. 2.43), written out.
    distance = np.sqrt(5 * (((x[:, None] - x[None]) / fit.lengthscale) ** 2).sum(-1))
    covariance = (1 + distance + distance**2 / 3) * np.exp(-distance) + fit.noise * np.eye(30)
    row_sums = np.linalg.inv(covariance).sum(axis=1)
    assert grown.constant == pytest.approx(row_sums @ grown.z / row_sums.sum())
    same = with_other_trials(fit, History(x[:12], y[:12]))
    assert same.constant == pytest.approx(fit.constant)
    with pytest.raises(InputError, match="2 dimensions; the fit has 3"):
        with_other_trials(fit, History(x[:, :2], y))


def test_long_history_is_bounded_and_keeps_the_best():
    x, y = _data(2000, 2)
    model = fit_gaussian_process(torch.tensor(x), torch.tensor(y))
    assert len(model.train_targets) == MAX_TRIALS
    assert x[y.argmax()].tolist() in model.train_inputs[0].tolist()
    assert x[-1].tolist() in model.train_inputs[0].tolist()


def test_a_failed_fit_is_repeated_logged_and_counted(monkeypatch, caplog):
    original = gaussian_process_fit.lapack.dpotrf

    def fails_below(limit):
        def factorise(matrix, lower):
            factor, info = original(matrix, lower=lower)
            return factor, info if matrix[0, 0] >= 1 + limit else 1

        return factorise

    x, y = (torch.tensor(array) for array in _data(8, 2))
    monkeypatch.setattr(gaussian_process_fit.lapack, "dpotrf", fails_below(5e-3))
    with caplog.at_level(logging.WARNING, logger="diffhpo"):
        model = fit_gaussian_process(x, y)
    assert model.fitting_retries == 2
    assert model.likelihood.noise.item() >= 1e-2 * (1 - 1e-9)
    assert len(caplog.records) == 2
    monkeypatch.setattr(gaussian_process_fit.lapack, "dpotrf", fails_below(1e9))
    with pytest.raises(DiffHPOError, match="could not be fitted"):
        fit_gaussian_process(x, y)


def test_a_flat_objective_does_not_overflow():
    # Here the line search tries steps far out, which without upper bounds ended in infinite noise.
    rng = np.random.default_rng(83)
    n, d = int(rng.integers(2, 30)), int(rng.integers(1, 5))
    x = rng.random((n, d)).round(rng.integers(1, 4))
    y = np.where(rng.random(n) < 0.8, 0.0, rng.normal(size=n))
    assert fit_gaussian_process(torch.tensor(x), torch.tensor(y)).fitting_retries == 0


def test_bad_arguments_are_named():
    x, y = (torch.tensor(array) for array in _data(4, 2))
    with pytest.raises(InputError, match="kernel is 'linear'; accepted: matern52, rbf"):
        fit_gaussian_process(x, y, kernel="linear")
    with pytest.raises(InputError, match="at least one"):
        fit_gaussian_process(x[:0], y[:0])
    with pytest.raises(InputError, match="y has shape"):
        fit_gaussian_process(x, y[:3])
