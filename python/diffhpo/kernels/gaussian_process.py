# SPDX-License-Identifier: Apache-2.0
"""Gaussian processes with given hyperparameters on the CPU, in float64. The meaning in torch:
`diffhpo.model.universal.gaussian_processes` and `gaussian_mixture`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from diffhpo.kernels.ops import native
from diffhpo.kernels.refusal import refusal

#: Kernels by the number that the native code gives them (csrc/gaussian_process/gaussian_process.h).
KERNELS = ("matern52", "matern12", "squared_exponential")

_WHO = "a Gaussian process kernel"


@dataclass(frozen=True)
class ProcessTrials:
    """J processes and the n trials of each, as the native code reads them."""

    kernels: tuple[str, ...]
    """J names of `KERNELS`"""
    points: Tensor
    """(J, n, P) float64 in the coordinates in which each kernel is isotropic"""
    amplitude: Tensor
    """(J,) float64 prior variances"""
    shown: Tensor
    """(J, n) uint8, 1 where a trial is told"""

    def views(self) -> tuple[Any, Any, Any, list[int]]:
        """What the native functions take."""
        points, amplitude, shown = map(to_dlpack, (self.points, self.amplitude, self.shown))
        return points, amplitude, shown, _codes(self.kernels)


def _codes(kernels: tuple[str, ...]) -> list[int]:
    return [KERNELS.index(name) for name in kernels]


def condition(
    trials: ProcessTrials, residuals: Tensor, noise: Tensor, jitter: Tensor, *, isa: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Condition processes on their trials.

    Args:
        trials: of J processes.
        residuals: (J, n) float64 values minus prior means.
        noise: (J,) float64 variances of an observation's noise.
        jitter: (J,) float64 added to it; where a covariance cannot be factorised, 10, 100, ... times that.
        isa: build of the kernel, one of `ops.native_isas(runnable=True)`.

    Returns:
        Lower Cholesky factors (J, n, n), weights covariance^-1 residuals (J, n), and log marginal
        likelihoods (J,), all float64.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape or dtype does not fit.
        torch.linalg.LinAlgError: if a covariance cannot be factorised with ten thousand times the jitter.
    """
    jobs, n, _ = trials.points.shape
    factor = torch.empty(jobs, n, n, dtype=torch.float64)
    weights = torch.empty(jobs, n, dtype=torch.float64)
    evidence = torch.empty(jobs, dtype=torch.float64)
    with refusal(_WHO):
        points, amplitude, shown, codes = trials.views()
        failed = native().process_condition(
            *map(to_dlpack, (factor, weights, evidence)),
            points,
            to_dlpack(residuals),
            amplitude,
            *map(to_dlpack, (noise, jitter)),
            shown,
            codes,
            isa,
        )
    if failed >= 0:
        raise torch.linalg.LinAlgError(  # type: ignore[attr-defined]
            f"the covariance of process {failed} is not positive definite"
        )
    return factor, weights, evidence


def posterior(
    trials: ProcessTrials,
    factor: Tensor,
    weights: Tensor,
    candidates: Tensor,
    *,
    isa: str,
    rows: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior of the noise-free values of candidates.

    Args:
        trials, factor, weights: of J conditioned processes, see `condition`.
        candidates: (J, N, P) float64.
        isa: build of the kernel.
        rows: of what is explained, n at least; 0 where it is not asked for.

    Returns:
        Means of the residuals (J, N), variances (J, N), at least a millionth of the amplitude, and
        (J, rows, N) whose first n rows are factor^-1 cross-covariance, the others uninitialised; all float64.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape or dtype does not fit.
    """
    jobs, count, _ = candidates.shape
    mean = torch.empty(jobs, count, dtype=torch.float64)
    variance = torch.empty(jobs, count, dtype=torch.float64)
    explained = torch.empty(jobs, rows, count, dtype=torch.float64)
    with refusal(_WHO):
        native().process_posterior(
            *map(to_dlpack, (mean, variance, explained)),
            *trials.views(),
            *map(to_dlpack, (factor, weights, candidates)),
            isa,
        )
    return mean, variance, explained


@dataclass
class BeliefState:
    """A mixture of K processes' predictions of N candidates, some of them taken for evaluated."""

    kernels: tuple[str, ...]
    """K names of `KERNELS`"""
    log_weights: Tensor
    """(K, N) float64, as the next two"""
    means: Tensor
    deviations: Tensor
    variance: Tensor
    """(K, N) float64 of the noise-free values"""
    explained: Tensor
    """(K, rows, N) float64, see `posterior`; the first `used` rows hold"""
    used: int
    points: Tensor
    """(K, P, N) float64, a coordinate of all candidates together"""
    amplitude: Tensor
    """(K,) float64, as the next two"""
    noise: Tensor
    """of an observation, jitter included"""
    added: Tensor
    """variance that `deviations` hold beside that of the noise-free values"""

    def believe(self, index: int, *, isa: str) -> float:
        """Take candidate `index` for evaluated at the mixture's mean there, which is returned."""
        if self.used == self.explained.shape[1]:
            more = torch.empty_like(self.explained)
            self.explained = torch.cat([self.explained, more], dim=1)
        tensors = (self.log_weights, self.means, self.deviations, self.variance, self.explained)
        with refusal(_WHO):
            value: float = native().process_believe(
                *map(to_dlpack, tensors),
                self.used,
                to_dlpack(self.points),
                _codes(self.kernels),
                *map(to_dlpack, (self.amplitude, self.noise, self.added)),
                index,
                isa,
            )
        self.used += 1
        return value


def log_expected_improvement(
    log_weights: Tensor, means: Tensor, deviations: Tensor, best: float, *, isa: str
) -> Tensor:
    """log E[max(Y - best, 0)] of mixtures of normal distributions, exact also where it underflows.

    Args:
        log_weights: (K, N) float64, normalised over K.
        means: (K, N) float64.
        deviations: (K, N) float64, positive.
        best: what is to be improved on.
        isa: build of the kernel.

    Returns:
        (N,) float64.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape or dtype does not fit.
    """
    out = torch.empty(log_weights.shape[-1], dtype=torch.float64)
    with refusal(_WHO):
        native().mixture_log_improvement(*map(to_dlpack, (out, log_weights, means, deviations)), best, isa)
    return out
