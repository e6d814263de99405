# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from diffhpo.model.universal import gaussian_processes
from diffhpo.model.universal.gaussian_processes import GaussianProcesses

KERNELS = ("matern52", "matern12", "squared_exponential")
THEIRS = (Matern(nu=2.5), Matern(nu=0.5), RBF())
AMPLITUDE, NOISE = (0.7, 1.0, 2.0), (0.1, 0.02, 0.3)


@pytest.fixture
def conditioned():
    rng = np.random.default_rng(0)
    points, values = rng.normal(size=(12, 4)), rng.normal(size=12)
    ours = GaussianProcesses.condition(
        KERNELS,
        torch.tensor(points).expand(1, 3, -1, -1),
        torch.tensor(values).expand(1, 3, -1),
        torch.tensor([AMPLITUDE]),
        torch.tensor([NOISE]),
        torch.ones(1, 12, dtype=torch.bool),
    )
    theirs = [
        GaussianProcessRegressor(
            ConstantKernel(a, "fixed") * kernel, alpha=n + gaussian_processes.JITTER * a, optimizer=None
        ).fit(points, values)
        for a, kernel, n in zip(AMPLITUDE, THEIRS, NOISE, strict=True)
    ]
    return ours, theirs, rng.normal(size=(7, 4))


def test_posterior_and_evidence_against_scikit_learn(conditioned):
    ours, theirs, query = conditioned
    mean, variance = ours.posterior(torch.tensor(query).expand(1, 3, -1, -1))
    joint = ours.joint(torch.tensor(query).expand(1, 3, -1, -1))
    columns = torch.stack([joint.covariance(index) for index in range(len(query))], dim=-1)
    for k, process in enumerate(theirs):
        expected, covariance = process.predict(query, return_cov=True)
        # A root of 1e-6 keeps the gradient at zero distance finite; it is the largest difference.
        assert mean[0, k].numpy() == pytest.approx(expected, abs=2e-3)
        assert variance[0, k].numpy() == pytest.approx(np.diag(covariance), abs=2e-3)
        assert joint.variance[0, k].numpy() == pytest.approx(np.diag(covariance), abs=2e-3)
        assert columns[0, k].numpy() == pytest.approx(covariance, abs=2e-3)
        evidence = process.log_marginal_likelihood_value_
        assert ours.evidence[0, k].item() == pytest.approx(evidence, abs=0.05)


def test_contexts_of_different_sizes_do_not_meet(conditioned):
    ours, _, query = conditioned
    residuals = (ours.factor @ (ours.factor.mT @ ours.weights.unsqueeze(-1))).squeeze(-1)
    arguments = ours.points, residuals, ours.amplitude, ours.noise
    masks = torch.arange(12) < torch.tensor([[12], [7]])
    together = GaussianProcesses.condition(KERNELS, *(torch.cat([part, part]) for part in arguments), masks)
    points = torch.tensor(query).expand(2, 3, -1, -1)
    joint = together.joint(points)
    joint.add(2)
    for row, size in enumerate((12, 7)):
        alone = GaussianProcesses.condition(
            KERNELS, *(part[:, :, :size] for part in arguments[:2]), *arguments[2:], masks[:1, :size]
        )
        one = alone.joint(points[:1])
        one.add(2)
        assert torch.allclose(joint.mean[row], one.mean[0], atol=1e-9)
        assert torch.allclose(joint.variance[row], one.variance[0], atol=1e-6)
        assert torch.allclose(joint.covariance(5)[row], one.covariance(5)[0], atol=1e-6)
        assert torch.allclose(together.evidence[row], alone.evidence[0])


def test_configurations_that_are_added_count_as_trials(conditioned):
    ours, theirs, query = conditioned
    joint = ours.joint(torch.tensor(query).expand(1, 3, -1, -1))
    before, _ = ours.posterior(torch.tensor(query).expand(1, 3, -1, -1))
    # The value of the first is its mean, that of the second one above its mean.
    joint.add(4)
    gain = joint.add(1)
    for k, process in enumerate(theirs):
        first = process.predict(query[[4]])
        seen = np.concatenate([process.X_train_, query[[4, 1]]])
        told = np.concatenate([process.y_train_, first, process.predict(query[[1]]) + 1])
        again = GaussianProcessRegressor(process.kernel_, alpha=process.alpha, optimizer=None).fit(seen, told)
        mean, covariance = again.predict(query, return_cov=True)
        assert (before + gain)[0, k].numpy() == pytest.approx(mean, abs=3e-3)
        assert joint.variance[0, k].numpy() == pytest.approx(np.diag(covariance), abs=3e-3)
        assert joint.covariance(5)[0, k].numpy() == pytest.approx(covariance[5], abs=3e-3)


def test_masked_trials_leave_no_trace(conditioned):
    ours, _, query = conditioned
    extra = torch.cat([ours.points, 0.01 + ours.points[:, :, :3]], dim=2)
    mask = torch.tensor([[True] * 12 + [False] * 3])
    residuals = torch.zeros(1, 3, 15).double()
    residuals[:, :, :12] = (ours.factor @ (ours.factor.mT @ ours.weights.unsqueeze(-1))).squeeze(-1)
    residuals[:, :, 12:] = 7.0
    again = GaussianProcesses.condition(KERNELS, extra, residuals, ours.amplitude, ours.noise, mask)
    points = torch.tensor(query).expand(1, 3, -1, -1)
    for left, right in zip(ours.posterior(points), again.posterior(points), strict=True):
        assert torch.allclose(left, right, atol=1e-6)
    assert torch.allclose(ours.evidence, again.evidence)


def test_equal_trials_of_a_smooth_kernel_can_be_factorised():
    points = torch.zeros(1, 1, 80, 3)
    processes = GaussianProcesses.condition(
        ("squared_exponential",),
        points,
        torch.randn(1, 1, 80),
        torch.full((1, 1), 50.0),
        torch.full((1, 1), 1e-9),
        torch.ones(1, 80, dtype=torch.bool),
    )
    mean, variance = processes.posterior(points[:, :, :2])
    assert bool(torch.isfinite(mean).all())
    assert bool((variance > 0).all())


def test_what_has_no_factor_gets_the_least_that_gives_one():
    sound = torch.eye(3, dtype=torch.float64) + 0.5
    # Of a negative eigenvalue: -2e-4 is made up for by the second growth of the jitter, from 1e-5.
    last = torch.diag(torch.tensor([1.0, 1.0, -2e-4], dtype=torch.float64))
    first = torch.diag(torch.tensor([-2e-4, 1.0, 1.0], dtype=torch.float64))
    matrices = torch.stack([torch.stack([sound, last]), torch.stack([first, sound])])
    factors = gaussian_processes._cholesky(matrices, torch.full((2, 2), 1e-5))
    for factor in (factors[0, 0], factors[1, 1]):
        assert torch.equal(factor, torch.linalg.cholesky(sound))
    for factor, broken in ((factors[0, 1], last), (factors[1, 0], first)):
        assert factor @ factor.mT == pytest.approx(broken + 1.1e-3 * torch.eye(3), abs=1e-9)
    with pytest.raises(torch.linalg.LinAlgError):
        gaussian_processes._cholesky(-torch.eye(3), torch.tensor(1e-5))


def test_what_has_no_factor_gets_jitter_in_units_of_the_amplitude(conditioned, monkeypatch):
    ours, _, _ = conditioned
    residuals = (ours.factor @ (ours.factor.mT @ ours.weights.unsqueeze(-1))).squeeze(-1)
    factorise, calls = torch.linalg.cholesky_ex, []

    def failing_once(matrix):
        calls.append(matrix)
        factor, failed = factorise(matrix)
        return factor, failed + (len(calls) == 1)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", failing_once)
    again = GaussianProcesses.condition(
        KERNELS, ours.points, residuals, ours.amplitude, ours.noise, ours.mask
    )
    added = again.factor @ again.factor.mT - ours.factor @ ours.factor.mT
    expected = 10 * gaussian_processes.JITTER * torch.tensor(AMPLITUDE)
    assert torch.allclose(added, torch.diag_embed(expected[None, :, None].expand(1, 3, 12)).double())


def test_the_least_variance_is_in_units_of_the_amplitude():
    """Of 400 trials at one point the mean is known better than the variance is allowed to fall."""
    processes = GaussianProcesses.condition(
        ("squared_exponential", "squared_exponential"),
        torch.zeros(1, 2, 400, 3),
        torch.zeros(1, 2, 400),
        torch.tensor([[50.0, 0.02]]),
        torch.full((1, 2), 1e-12),
        torch.ones(1, 400, dtype=torch.bool),
    )
    joint = processes.joint(torch.zeros(1, 2, 2, 3))
    for _ in range(2):
        assert joint.variance[0, :, 0].numpy() == pytest.approx([50e-6, 0.02e-6], rel=1e-6)
        joint.add(0)


def test_processes_are_not_changed(conditioned):
    with pytest.raises(dataclasses.FrozenInstanceError):
        conditioned[0].noise = torch.zeros(1, 3)
