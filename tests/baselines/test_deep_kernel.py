# SPDX-License-Identifier: Apache-2.0
"""The deep kernel: its likelihood and gradient against GPyTorch and autograd, its training, its failures."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from gpytorch.mlls import ExactMarginalLogLikelihood

from diffhpo.baselines import DeepGaussianProcess, deep_kernel
from diffhpo.baselines.deep_kernel import NOISE_FLOOR, DeepKernelLikelihood, fit_deep_kernel
from diffhpo.errors import InputError
from diffhpo.history import History


def _history(n: int = 12, d: int = 3) -> History:
    x = np.random.default_rng(0).random((n, d))
    return History(x, np.sin(5 * x[:, 0]) + x[:, -1] ** 2)


def _parameters(trained) -> np.ndarray:
    covariance = trained.model.covar_module
    hyperparameters = [
        covariance.base_kernel.lengthscale.item(),
        covariance.outputscale.item(),
        trained.model.likelihood.noise.item() - NOISE_FLOOR,
    ]
    weights = [parameter.detach().numpy().ravel() for parameter in trained.network.parameters()]
    return np.concatenate([*weights, np.log(hyperparameters)])


@pytest.mark.parametrize("widths", [(32, 32), (5,), (8, 4, 3)])
def test_objective_and_gradient_are_gpytorchs(widths):
    history = _history()
    trained = fit_deep_kernel(history, seed=1, widths=widths, steps=5)
    model = trained.model
    objective = DeepKernelLikelihood(history.x, model.train_targets.numpy(), widths)
    parameters = _parameters(trained)
    value, gradient, mean = objective(parameters)
    model.train()
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    features = trained.network(2 * torch.tensor(history.x) - 1)
    model.set_train_data(features, strict=False)
    expected = -len(history) * likelihood(model(features), model.train_targets)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-8)
    assert mean == pytest.approx(model.mean_module.constant.item(), abs=1e-9)
    weights = np.concatenate([p.grad.numpy().ravel() for p in trained.network.parameters()])
    np.testing.assert_allclose(gradient[:-3], weights, rtol=1e-6, atol=1e-9)
    for index in (-3, -2, -1):
        step = np.zeros_like(parameters)
        step[index] = 1e-5
        numeric = (objective(parameters + step)[0] - objective(parameters - step)[0]) / 2e-5
        assert gradient[index] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def test_training_lowers_the_objective_and_keeps_the_best():
    history = _history(20)
    values = []
    for steps in (0, 30, 300):
        trained = fit_deep_kernel(history, seed=0, steps=steps)
        objective = DeepKernelLikelihood(history.x, trained.model.train_targets.numpy(), (32, 32))
        values.append(objective(_parameters(trained))[0])
    assert values[2] < values[1] - 1 < values[0] - 2


def test_predictions_on_held_out_points_are_good():
    rng = np.random.default_rng(4)
    x, points = rng.random((40, 2)), rng.random((200, 2))

    def response(x):
        return np.sin(4 * x[:, 0]) + x[:, 1]

    trained = fit_deep_kernel(History(x, response(x)), seed=0)
    mean = trained.model.posterior(trained.features(points)).mean.detach().numpy().ravel()
    assert np.square(mean - response(points)).mean() < 0.01 * response(points).var()


def test_a_numerical_failure_is_logged_and_counted(monkeypatch, caplog):
    calls = iter(range(1000))
    original = deep_kernel.lapack.dpotrf

    def fails_late(matrix, lower):
        factor, info = original(matrix, lower=lower)
        return factor, 1 if next(calls) == 10 else info

    monkeypatch.setattr(deep_kernel.lapack, "dpotrf", fails_late)
    with caplog.at_level(logging.WARNING, logger="diffhpo"):
        trained = fit_deep_kernel(_history(), seed=0)
    assert trained.fitting_retries == 1
    assert len(caplog.records) == 1
    assert torch.isfinite(trained.model.posterior(trained.features(np.eye(3))).mean).all()


def test_settings_out_of_range_are_named():
    with pytest.raises(InputError, match="widths"):
        DeepGaussianProcess(widths=())
    with pytest.raises(InputError, match="learning_rate"):
        DeepGaussianProcess(learning_rate=0.0)
