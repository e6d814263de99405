# SPDX-License-Identifier: Apache-2.0
"""A few Gaussian processes whose hyperparameters a network has read off the context."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.kernels import gaussian_process as native
from diffhpo.kernels.executors import Executor, choose_executor

_LOG_2PI = math.log(2 * math.pi)

#: Added to the diagonal, in units of the amplitude: equal trials are not told apart by less.
JITTER = 1e-4

#: By which the jitter grows where a covariance still cannot be factorised, and how often.
_GROWTH, _ATTEMPTS = 10.0, 4


def matern52(r2: Tensor) -> Tensor:
    """(1 + s + s^2 / 3) exp(-s), s = sqrt(5 r^2) (Rasmussen and Williams 2006, eq. 4.17)."""
    s = (5 * r2 + 1e-6).sqrt()
    return (1 + s + s * s / 3) * torch.exp(-s)


def matern12(r2: Tensor) -> Tensor:
    """exp(-r): paths that are continuous and no more, like surfaces with steps."""
    return torch.exp(-(r2 + 1e-6).sqrt())


def squared_exponential(r2: Tensor) -> Tensor:
    """exp(-r^2 / 2)."""
    return torch.exp(-0.5 * r2)


@dataclass(frozen=True)
class GaussianProcesses:
    """K processes for each of B contexts, conditioned on their trials; all in float64.

    Squared distances of near trials are differences of large numbers, and a hundred trials of a smooth kernel
    leave float32 no digit to factorise.
    """

    kernels: tuple[str, ...]
    points: Tensor
    """(B, K, n, P) trials in the coordinates in which each kernel is isotropic."""
    amplitude: Tensor
    """(B, K) prior variance."""
    factor: Tensor
    """(B, K, n, n) lower Cholesky factor of the covariance of the observations."""
    weights: Tensor
    """(B, K, n) covariance^-1 (z - mean)."""
    noise: Tensor
    """(B, K) variance of the observation noise."""
    evidence: Tensor
    """(B, K) log marginal likelihood of the trials."""
    mask: Tensor
    """(B, n) true where a trial exists."""
    executor: Executor | None = None
    """of predictions without gradients; None is torch"""

    @classmethod
    def condition(
        cls,
        kernels: tuple[str, ...],
        points: Tensor,
        residuals: Tensor,
        amplitude: Tensor,
        noise: Tensor,
        mask: Tensor,
        executor: Executor | str | None = None,
    ) -> GaussianProcesses:
        """Condition on trials.

        Args:
            kernels: K names of `_KERNELS`.
            points: (B, K, n, P); n may be 0.
            residuals: (B, K, n) values minus prior means.
            amplitude: (B, K)
            noise: (B, K)
            mask: (B, n) true where a trial exists.
            executor: of the predictions, as `choose_executor` gives or takes it. Torch where it is left out,
                and where a gradient is wanted or a tensor is not on the CPU.

        Raises:
            torch.linalg.LinAlgError: if a covariance cannot be factorised with ten thousand times the jitter.
        """
        points, residuals, amplitude, noise = (
            part.double() for part in (points, residuals, amplitude, noise)
        )
        if isinstance(executor, str):
            executor = choose_executor(executor, device=points.device, kernels=("cpu",))
        if _runs_natively(executor, points, residuals, amplitude, noise):
            assert executor is not None
            batch, count, n, _ = points.shape
            jobs = batch * count
            trials = _trials(kernels, points, amplitude, mask)
            factor, weights, evidence = native.condition(
                trials,
                residuals.reshape(jobs, n).contiguous(),
                noise.reshape(jobs).contiguous(),
                JITTER * trials.amplitude,
                isa=executor.isa,
            )
            return cls(
                kernels,
                points,
                amplitude,
                factor.view(batch, count, n, n),
                weights.view(batch, count, n),
                noise,
                evidence.view(batch, count),
                mask,
                executor,
            )
        both = mask.unsqueeze(1).unsqueeze(-1) & mask.unsqueeze(1).unsqueeze(-2)
        covariance = _correlations(kernels, points, points) * amplitude[..., None, None] * both
        diagonal = torch.where(mask.unsqueeze(1), (noise + JITTER * amplitude).unsqueeze(-1), 1.0)
        covariance = covariance + torch.diag_embed(diagonal)
        factor = _cholesky(covariance, JITTER * amplitude)
        residuals = residuals * mask.unsqueeze(1)
        whitened = torch.linalg.solve_triangular(factor, residuals.unsqueeze(-1), upper=False)
        weights = torch.linalg.solve_triangular(factor.mT, whitened, upper=True).squeeze(-1)
        logs = factor.diagonal(dim1=-2, dim2=-1).log().masked_fill(~mask.unsqueeze(1), 0.0).sum(-1)
        told = mask.sum(1, keepdim=True).double()
        evidence = -0.5 * (whitened**2).sum((-2, -1)) - logs - 0.5 * told * _LOG_2PI
        return cls(kernels, points, amplitude, factor, weights, noise, evidence, mask, executor)

    def posterior(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the residual and variance of the noise-free value at (B, K, N, P): float32 (B, K, N)."""
        joint = self.joint(points)
        return joint.mean.float(), joint.variance.float()

    def joint(self, points: Tensor) -> JointPosterior | NativePosterior:
        """The joint posterior of the noise-free values at (B, K, N, P)."""
        if _runs_natively(self.executor, points, self.factor):
            assert self.executor is not None
            return NativePosterior(self, points.double(), self.executor.isa)
        return JointPosterior(self, points)

    def cross_covariance(self, points: Tensor) -> Tensor:
        """(B, K, N, n) prior covariance of points and trials."""
        prior = _correlations(self.kernels, points.double(), self.points) * self.amplitude[..., None, None]
        return prior * self.mask[:, None, None]


class JointPosterior:
    """Posterior covariances of N configurations, which can be added to the trials one after the other.

    Covariances are made a column at a time: of the N^2 a batch needs a few times N.

    Args:
        processes: conditioned on the trials.
        points: (B, K, N, P) in their coordinates.
    """

    def __init__(self, processes: GaussianProcesses, points: Tensor) -> None:
        points = points.double()
        cross = processes.cross_covariance(points)
        self.mean = (cross @ processes.weights.unsqueeze(-1)).squeeze(-1)
        """(B, K, N) of the residuals, given the trials alone"""
        explained = torch.linalg.solve_triangular(processes.factor, cross.mT, upper=False)
        prior = processes.amplitude.unsqueeze(-1)
        self._least = 1e-6 * prior
        self.variance = torch.maximum(prior - (explained**2).sum(-2), self._least)
        """(B, K, N) of the noise-free values"""
        self.noise = processes.noise
        """(B, K)"""
        self._kernels, self._prior = processes.kernels, prior
        # What is subtracted from here on is of the order of the variances themselves: float32 has the digits.
        self._points = points.detach().float()
        self._squares = (points**2).sum(-1).detach().float()
        #: (B, K, n + a, N): its squares are what the trials, and a configurations since, explain.
        self._explained = explained.detach().float()

    def covariance(self, index: int) -> Tensor:
        """(B, K, N) covariances of the noise-free values with that of configuration `index`, in float32."""
        product = (self._points @ self._points[:, :, index].unsqueeze(-1)).squeeze(-1)
        r2 = (self._squares + self._squares[..., index : index + 1] - 2 * product).clamp_min(0.0)
        prior = torch.stack([_KERNELS[name](r2[:, k]) for k, name in enumerate(self._kernels)], dim=1)
        explained = self._explained[..., index].unsqueeze(-2) @ self._explained
        return self._prior.float() * prior - explained.squeeze(-2)

    def add(self, index: int) -> Tensor:
        """Condition on an observation of configuration `index`, whatever its value.

        Returns:
            (B, K, N) by how much each mean moves if that value is one above its mean.
        """
        column = self.covariance(index).double()
        observed = self.variance[..., index] + self.noise + JITTER * self._prior.squeeze(-1)
        row = column / observed.sqrt().unsqueeze(-1)
        self._explained = torch.cat([self._explained, row.float().unsqueeze(-2)], dim=-2)
        self.variance = torch.maximum(self.variance - row**2, self._least)
        return column / observed.unsqueeze(-1)


class NativePosterior:
    """As `JointPosterior`, by the native kernels; what joins the trials is kept by a `NativeBelief`.

    Args:
        processes: conditioned on the trials.
        points: (B, K, N, P) float64 in their coordinates.
        isa: build of the kernels.
    """

    def __init__(self, processes: GaussianProcesses, points: Tensor, isa: str) -> None:
        self._processes, self._points, self.isa = processes, points, isa
        mean, variance, _ = self._posterior(0)
        self.mean = mean.view(points.shape[:3])
        """(B, K, N) of the residuals, given the trials alone"""
        self.variance = variance.view(points.shape[:3])
        """(B, K, N) of the noise-free values"""
        self.noise = processes.noise
        """(B, K)"""

    def _posterior(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        processes = self._processes
        jobs, n = processes.amplitude.numel(), processes.mask.shape[1]
        points = self._points
        return native.posterior(
            _trials(processes.kernels, processes.points, processes.amplitude, processes.mask),
            processes.factor.reshape(jobs, n, n).contiguous(),
            processes.weights.reshape(jobs, n).contiguous(),
            points.reshape(jobs, *points.shape[2:]).contiguous(),
            isa=self.isa,
            rows=rows,
        )

    def state(
        self, log_weights: Tensor, means: Tensor, deviations: Tensor, *, noisy: bool
    ) -> native.BeliefState:
        """Of one context's mixture, (K, N) float64 each: its own copy, to be conditioned on candidates.

        Args:
            noisy: whether the deviations hold the processes' noise.
        """
        processes = self._processes
        n, count = processes.mask.shape[1], processes.amplitude.numel()
        amplitude, noise = processes.amplitude.reshape(count), processes.noise.reshape(count)
        _, variance, explained = self._posterior(n + _ROOM)
        return native.BeliefState(
            kernels=processes.kernels,
            log_weights=log_weights.clone(),
            means=means.clone(),
            deviations=deviations.clone(),
            variance=variance,
            explained=explained,
            used=n,
            points=self._points.reshape(count, *self._points.shape[2:]).mT.contiguous(),
            amplitude=amplitude.contiguous(),
            noise=noise + JITTER * amplitude,
            added=(noise if noisy else torch.zeros_like(noise)).contiguous(),
        )


#: Candidates for which a belief has room before it needs a larger buffer.
_ROOM = 16


def _runs_natively(executor: Executor | None, *tensors: Tensor) -> bool:
    """Whether the native kernels may run: no gradient is wanted, and all is on the CPU."""
    if executor is None or executor.name == "reference":
        return False
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not wanted and all(tensor.device.type == "cpu" for tensor in tensors)


def _trials(
    kernels: tuple[str, ...], points: Tensor, amplitude: Tensor, mask: Tensor
) -> native.ProcessTrials:
    """(B, K, n, P) points, (B, K) amplitudes and (B, n) mask for the native kernels."""
    batch, count, n, width = points.shape
    return native.ProcessTrials(
        kernels * batch,
        points.reshape(batch * count, n, width).contiguous(),
        amplitude.reshape(batch * count).contiguous(),
        mask.unsqueeze(1).expand(-1, count, -1).reshape(batch * count, n).to(torch.uint8),
    )


def _cholesky(covariance: Tensor, jitter: Tensor) -> Tensor:
    """The lower factor of (B, K, n, n); where there is none, of the matrix with more on its diagonal."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    for _ in range(_ATTEMPTS):
        if not bool(failed.any()):
            return factor
        jitter = _GROWTH * jitter
        added = torch.where(failed > 0, jitter, torch.zeros_like(jitter))[..., None, None]
        covariance = covariance + added * torch.eye(covariance.shape[-1], device=covariance.device)
        factor, failed = torch.linalg.cholesky_ex(covariance)
    return torch.linalg.cholesky(covariance)


_KERNELS = {"matern52": matern52, "matern12": matern12, "squared_exponential": squared_exponential}


def _correlations(kernels: tuple[str, ...], a: Tensor, b: Tensor) -> Tensor:
    """(B, K, N, P), (B, K, M, P) -> (B, K, N, M) correlations."""
    squares = (a**2).sum(-1).unsqueeze(-1) + (b**2).sum(-1).unsqueeze(-2)
    r2 = (squares - 2 * a @ b.mT).clamp_min(0.0)
    return torch.stack([_KERNELS[name](r2[:, k]) for k, name in enumerate(kernels)], dim=1)
