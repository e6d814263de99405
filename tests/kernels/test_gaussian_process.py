# SPDX-License-Identifier: Apache-2.0
"""The native Gaussian processes, against formulas written down once more in NumPy and against mpmath."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch

from diffhpo.errors import InputError
from diffhpo.kernels import gaussian_process as native
from diffhpo.kernels.executors import Executor
from diffhpo.model.universal.belief import Belief, NativeBelief, belief_of
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import JITTER, GaussianProcesses, NativePosterior

KERNELS = ("matern52", "matern52", "matern12", "squared_exponential")
#: Of float64 results whose covariances have condition numbers up to 1e5.
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def correlation(kernel: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    r2 = ((a[:, None] - b[None]) ** 2).sum(-1)
    if kernel == "matern52":
        s = np.sqrt(5 * r2 + 1e-6)
        return (1 + s + s**2 / 3) * np.exp(-s)
    return np.exp(-np.sqrt(r2 + 1e-6)) if kernel == "matern12" else np.exp(-r2 / 2)


def observed(kernel: str, x: np.ndarray, amplitude: float, noise: float, joined: int) -> np.ndarray:
    """Covariance of observations; that of a joined candidate with itself is the whole amplitude, where the
    kernels' root leaves a little off."""
    covariance = amplitude * correlation(kernel, x, x)
    for row in range(len(x) - joined, len(x)):
        covariance[row, row] = amplitude
    return covariance + noise * np.eye(len(x))


class Case:
    """B contexts of four processes with n trials in P coordinates, and N candidates."""

    def __init__(
        self, batch: int = 1, n: int = 20, count: int = 30, dim: int = 3, masked: bool = False
    ) -> None:
        rng = np.random.default_rng([batch, n, count, dim])
        self.points = rng.random((batch, 4, n, dim)) * 2
        self.residuals = rng.normal(size=(batch, 4, n))
        self.amplitude = rng.uniform(0.3, 2.0, (batch, 4))
        self.noise = self.amplitude * np.exp(rng.uniform(-7, -1, (batch, 4)))
        self.mask = rng.random((batch, n)) < 0.7 if masked else np.ones((batch, n), dtype=bool)
        self.candidates = rng.random((batch, 4, count, dim)) * 2

    def processes(self, isa: str | None, rows: slice = slice(None)) -> GaussianProcesses:
        numbers = (self.points, self.residuals, self.amplitude, self.noise, self.mask)
        executor = None if isa is None else Executor(f"cpu-{isa}")
        return GaussianProcesses.condition(KERNELS, *(torch.tensor(part[rows]) for part in numbers), executor)

    def formula(self, context: int, k: int, more: tuple[int, ...] = ()) -> tuple[np.ndarray, ...]:
        """Mean and variance at the candidates and evidence, `more` candidates joined to the trials at 0."""
        shown = self.mask[context]
        x = np.concatenate([self.points[context, k][shown], self.candidates[context, k][list(more)]])
        y = np.concatenate([self.residuals[context, k][shown], np.zeros(len(more))])
        amplitude = self.amplitude[context, k]
        noise = self.noise[context, k] + JITTER * amplitude
        covariance = observed(KERNELS[k], x, amplitude, noise, len(more))
        cross = amplitude * correlation(KERNELS[k], self.candidates[context, k], x)
        factor = scipy.linalg.cho_factor(covariance, lower=True)
        mean = cross @ scipy.linalg.cho_solve(factor, y)
        variance = amplitude - np.einsum("ij,ji->i", cross, scipy.linalg.cho_solve(factor, cross.T))
        logs = np.log(np.diag(factor[0])).sum()
        evidence = -0.5 * y @ scipy.linalg.cho_solve(factor, y) - logs - len(x) / 2 * math.log(2 * math.pi)
        return mean, variance, evidence


@pytest.mark.parametrize(
    "case", [Case(), Case(batch=3, n=33, masked=True), Case(n=1), Case(n=7, dim=40, count=1), Case(n=100)]
)
def test_posterior_and_evidence_are_the_formulas(case: Case, isa: str) -> None:
    processes = case.processes(isa)
    joint = processes.joint(torch.tensor(case.candidates))
    assert isinstance(joint, NativePosterior)
    for context, k in itertools.product(range(len(case.points)), range(4)):
        mean, variance, evidence = case.formula(context, k)
        np.testing.assert_allclose(joint.mean[context, k], mean, **CLOSE)
        np.testing.assert_allclose(joint.variance[context, k], variance, **CLOSE)
        np.testing.assert_allclose(processes.evidence[context, k], evidence, **CLOSE)
        factor = processes.factor[context, k]
        assert torch.equal(factor, factor.tril())


def test_torch_and_native_code_mean_the_same(isa: str) -> None:
    case = Case(batch=2, masked=True)
    torch_, ours = case.processes(None), case.processes(isa)
    for name in ("factor", "weights", "evidence", "noise", "amplitude"):
        torch.testing.assert_close(getattr(ours, name), getattr(torch_, name), rtol=1e-9, atol=1e-9)


def test_no_trial_leaves_the_prior(isa: str) -> None:
    case = Case(n=0)
    processes = case.processes(isa)
    joint = processes.joint(torch.tensor(case.candidates))
    assert not joint.mean.any()
    assert not processes.evidence.any()
    assert torch.equal(
        joint.variance, torch.tensor(case.amplitude).unsqueeze(-1).expand(joint.variance.shape)
    )


def test_hidden_trials_change_nothing(isa: str) -> None:
    case = Case(batch=2, masked=True)
    before = case.processes(isa).joint(torch.tensor(case.candidates))
    hidden = ~case.mask[:, None] & np.ones((2, 4, 1), dtype=bool)
    case.points[hidden] = 7.0
    case.residuals[hidden] = -1e6
    after = case.processes(isa).joint(torch.tensor(case.candidates))
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.variance, after.variance)


def test_a_candidate_and_a_context_alone_are_as_in_a_batch(isa: str) -> None:
    case = Case(batch=3, count=75, masked=True)
    joint = case.processes(isa).joint(torch.tensor(case.candidates))
    for context in range(3):
        alone = case.processes(isa, slice(context, context + 1))
        for some in (slice(0, 1), slice(40, 75)):
            one = alone.joint(torch.tensor(case.candidates[context : context + 1, :, some]))
            assert torch.equal(one.mean[0], joint.mean[context, :, some])
            assert torch.equal(one.variance[0], joint.variance[context, :, some])


def test_repeated_trials_of_no_noise_get_more_jitter(isa: str) -> None:
    case = Case(n=60, dim=1)
    case.points[:] = 0.5 + 1e-13 * case.points
    case.noise[:] = -JITTER * case.amplitude  # takes away what is added: nothing is left of the diagonal
    found, expected = case.processes(isa), case.processes(None)
    torch.testing.assert_close(found.evidence, expected.evidence, rtol=1e-4, atol=0)


def test_a_covariance_that_is_none_is_an_error(isa: str) -> None:
    case = Case(n=3)
    case.residuals[:] = 1.0
    case.points[0, 2, 1, 0] = math.nan
    with pytest.raises(torch.linalg.LinAlgError, match="process 2 is not positive definite"):
        case.processes(isa)


def test_gradients_take_the_torch_code() -> None:
    case = Case()
    points = torch.tensor(case.candidates, requires_grad=True)
    joint = case.processes("portable").joint(points)
    joint.mean.sum().backward()
    assert points.grad is not None
    assert points.grad.abs().max() > 0


def exact_log_improvement(u: float) -> float:
    """log(phi(u) + u Phi(u)) with 400 digits, which the difference at u = -100 needs."""
    with mpmath.workdps(400):
        value = mpmath.mpf(u)
        tail = mpmath.erfc(-value / mpmath.sqrt(2)) / 2
        return float(mpmath.log(mpmath.npdf(value) + value * tail))


def test_log_improvement_is_exact_also_where_it_underflows(isa: str) -> None:
    u = np.concatenate(
        [np.linspace(-30, 8, 153), [-100.0, -25.000001, -24.999999, -1.000001, -0.999999, 0.0, 1e-9, 60.0]]
    )
    means = torch.tensor(u)[None] * 3.0 + 2.0
    ones = torch.ones_like(means)
    found = native.log_expected_improvement(0 * means, means, 3.0 * ones, 2.0, isa=isa) - math.log(3.0)
    expected = [exact_log_improvement(value) for value in u]
    np.testing.assert_allclose(found, expected, rtol=2e-13, atol=2e-13)


def test_log_improvement_of_a_mixture_is_that_of_torch(isa: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (1, 8, 37):
        logits, means, spread = torch.randn(3, 4, count, generator=generator, dtype=torch.float64)
        mixture = GaussianMixture(logits.mT.log_softmax(-1), 3 * means.mT, spread.exp().mT)
        found = native.log_expected_improvement(
            *(part.mT.contiguous() for part in (mixture.log_weights, mixture.means, mixture.deviations)),
            0.7,
            isa=isa,
        )
        expected = mixture.log_expected_improvement(torch.tensor(0.7, dtype=torch.float64))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def mixture_of(
    case: Case, processes: GaussianProcesses, joint: NativePosterior, noisy: bool
) -> GaussianMixture:
    added = processes.noise.unsqueeze(-1) if noisy else 0.0
    weights = torch.tensor(np.random.default_rng(1).normal(size=joint.mean.mT[0].shape)).log_softmax(-1)
    return GaussianMixture(weights[None], joint.mean.mT, (joint.variance + added).sqrt().mT)


@pytest.mark.parametrize("noisy", [True, False])
def test_believed_candidates_join_the_trials(isa: str, noisy: bool) -> None:
    case, chosen = Case(n=12, count=45), (3, 44, 17, 3)
    processes = case.processes(isa)
    joint = processes.joint(torch.tensor(case.candidates))
    mixture = mixture_of(case, processes, joint, noisy)
    belief = belief_of(mixture, joint, torch.zeros(1, 1), noisy=noisy)
    assert isinstance(belief, NativeBelief)
    weights, means = mixture.log_weights[0].T.numpy().copy(), mixture.means[0].T.numpy().copy()
    best = 0.0
    for step, index in enumerate(chosen):
        belief.believe(index)
        # Bayes' rule for the mixture's weights, and each process's own prediction of the believed value.
        value = (np.exp(weights[:, index]) * means[:, index]).sum()
        best = max(best, value)
        for k in range(4):
            _, before, _ = case.formula(0, k, chosen[:step])
            _, after, _ = case.formula(0, k, chosen[: step + 1])
            added = case.noise[0, k] if noisy else 0.0
            deviation = math.sqrt(before[index] + added)
            weights[k] += -0.5 * ((value - means[k, index]) / deviation) ** 2 - math.log(deviation)
            # The covariance of all candidates with the chosen one moves the means.
            gain = gain_of(case, k, chosen[:step], index)
            means[k] += gain * (value - means[k, index])
            np.testing.assert_allclose(belief._state.means[k], means[k], rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(
                belief._state.variance[k],
                np.maximum(after, 1e-6 * case.amplitude[0, k]),
                rtol=1e-6,
                atol=1e-8,
            )
            np.testing.assert_allclose(
                belief._state.deviations[k] ** 2, belief._state.variance[k] + added, rtol=1e-6, atol=1e-9
            )
        weights -= np.logaddexp.reduce(weights, axis=0)
        np.testing.assert_allclose(belief._state.log_weights, weights, rtol=1e-6, atol=1e-7)
    expected = GaussianMixture(
        *(part.mT for part in (belief._state.log_weights, belief._state.means, belief._state.deviations))
    )
    np.testing.assert_allclose(
        belief.log_improvement(),
        expected.log_expected_improvement(torch.tensor(best, dtype=torch.float64)),
        rtol=1e-6,
    )


def gain_of(case: Case, k: int, before: tuple[int, ...], index: int) -> np.ndarray:
    """By how much means move with the value of a candidate, earlier ones being trials."""
    x = np.concatenate([case.points[0, k], case.candidates[0, k][list(before)]])
    amplitude, candidates = case.amplitude[0, k], case.candidates[0, k]
    noise = case.noise[0, k] + JITTER * amplitude
    inverse = np.linalg.inv(observed(KERNELS[k], x, amplitude, noise, len(before)))
    cross = amplitude * correlation(KERNELS[k], candidates, x)
    own = amplitude * correlation(KERNELS[k], candidates, candidates[index : index + 1])[:, 0]
    covariance = own - cross @ inverse @ cross[index]
    variance = max(amplitude - cross[index] @ inverse @ cross[index], 1e-6 * amplitude)
    return covariance / (variance + noise)


def test_a_belief_outgrows_its_buffer(isa: str) -> None:
    case = Case(n=5, count=60)
    processes = case.processes(isa)
    joint = processes.joint(torch.tensor(case.candidates))
    ours = belief_of(mixture_of(case, processes, joint, True), joint, torch.zeros(1, 1), noisy=True)
    slow = case.processes(None)
    torch_joint = slow.joint(torch.tensor(case.candidates))
    theirs = belief_of(mixture_of(case, slow, torch_joint, True), torch_joint, torch.zeros(1, 1), noisy=True)
    assert isinstance(theirs, Belief)
    for index in range(40):
        ours.believe(index)
        theirs.believe(index)
    # Torch keeps what is explained in float32.
    torch.testing.assert_close(
        ours._state.means.mT[None], theirs._mixture.means, rtol=1e-3, atol=1e-3, check_dtype=False
    )


def test_beliefs_of_one_posterior_are_apart(isa: str) -> None:
    case = Case()
    processes = case.processes(isa)
    joint = processes.joint(torch.tensor(case.candidates))
    mixture = mixture_of(case, processes, joint, True)
    first, second = (belief_of(mixture, joint, torch.zeros(1, 1), noisy=True) for _ in range(2))
    untouched = second.log_improvement()
    first.believe(4)
    assert torch.equal(second.log_improvement(), untouched)
    assert not torch.equal(first.log_improvement(), untouched)


def test_what_does_not_fit_is_named(isa: str) -> None:
    case = Case(n=4)
    trials = native.ProcessTrials(
        KERNELS,
        torch.rand(4, 4, 3, dtype=torch.float64),
        torch.ones(4, dtype=torch.float64),
        torch.ones(4, 4, dtype=torch.uint8),
    )
    ones = torch.ones(4, dtype=torch.float64)
    with pytest.raises(InputError, match="residuals has shape"):
        native.condition(trials, torch.zeros(4, 3, dtype=torch.float64), ones, ones, isa=isa)
    with pytest.raises(InputError, match="isa is"):
        native.condition(trials, torch.zeros(4, 4, dtype=torch.float64), ones, ones, isa="sse")
    with pytest.raises(InputError, match="noise has the wrong dtype"):
        native.condition(trials, torch.zeros(4, 4, dtype=torch.float64), ones.float(), ones, isa=isa)
    processes = case.processes(isa)
    joint = processes.joint(torch.tensor(case.candidates))
    belief = belief_of(mixture_of(case, processes, joint, True), joint, torch.zeros(1, 1), noisy=True)
    with pytest.raises(InputError, match="index is not that of a candidate"):
        belief.believe(30)


def test_nan_comes_out_where_it_goes_in(isa: str) -> None:
    case = Case(count=9)
    case.candidates[0, 1, 4] = math.nan
    joint = case.processes(isa).joint(torch.tensor(case.candidates))
    for found in (joint.mean, joint.variance):
        places = torch.isnan(found).nonzero().tolist()
        assert places == [[0, 1, 4]]
    numbers = torch.ones(2, 3, dtype=torch.float64)
    numbers[0, 2] = math.nan
    for place in range(3):
        parts = [torch.ones(2, 3, dtype=torch.float64) for _ in range(3)]
        parts[place] = numbers
        out = native.log_expected_improvement(*parts, 0.0, isa=isa)
        assert torch.isnan(out).tolist() == [False, False, True]


def test_a_tensor_without_memory_is_an_input_error(isa: str) -> None:
    means = torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(InputError, match="a Gaussian process kernel refused its input"):
        native.log_expected_improvement(means.to("meta"), means, means, 0.0, isa=isa)
