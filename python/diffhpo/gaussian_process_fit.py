# SPDX-License-Identifier: Apache-2.0
"""The hyperparameters of a Gaussian process, at the maximum of their posterior density."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.linalg import lapack
from scipy.optimize import minimize

from diffhpo.errors import DiffHPOError, InputError
from diffhpo.history import Array, History

_log = logging.getLogger("diffhpo")

KERNELS = ("matern52", "rbf")

#: Trials that a model is fitted to; of a longer history `History.bounded` keeps the best third, the latest
#: third, and as many spread over the others. The cost of a fit grows with the cube of this number.
MAX_TRIALS = 300

#: Values beyond this are clipped, so that variances and their gradients stay finite in double precision.
LARGEST_VALUE = 1e60

#: Lower bounds of the noise variance (standardised units): BoTorch's own, then those of the retries.
NOISE_FLOORS = (1e-4, 1e-3, 1e-2)

#: BoTorch's lower bound of a lengthscale.
SHORTEST = 2.5e-2

#: Upper bounds of a lengthscale and of the noise variance, far beyond what the priors allow at an optimum: a
#: line search on a flat objective may try a step that overflows.
LONGEST, LARGEST_NOISE = 1e6, 1e3

#: A cap that fits do not reach: those of 5 to 300 trials in 3 and 9 dimensions took 8 to 29.
_LBFGS_OPTIONS = {"maxiter": 100}


@dataclass(frozen=True)
class Prior:
    """Of a hyperparameter: LogNormal(location, scale) above a lower bound."""

    location: float
    scale: float
    bound: float


def lengthscale_prior(dim: int) -> Prior:
    """BoTorch's, scaled to the dimension (Hvarfner et al. 2024, arXiv 2402.02229)."""
    return _as_botorch(math.sqrt(2) + math.log(dim) * 0.5, math.sqrt(3), SHORTEST)


def noise_prior() -> Prior:
    """BoTorch's, of the noise variance in standardised units."""
    return _as_botorch(-4.0, 1.0, NOISE_FLOORS[0])


def _as_botorch(*numbers: float) -> Prior:
    """In float32, as BoTorch has them."""
    return Prior(*(float(np.float32(number)) for number in numbers))


@dataclass(frozen=True)
class GaussianProcessFit:
    """A Gaussian process with a constant mean, fitted to standardised values."""

    x: Array
    """(n, d) the trials that it was fitted to, of a long history those that `History.bounded` keeps."""
    values: Array
    """(n,) within +-1e60"""
    z: Array
    """(n,) values standardised: less `location`, over `scale`"""
    location: float
    """Mean of the values."""
    scale: float
    """Deviation of the values; 1 for equal ones."""
    kernel: str
    lengthscale: Array
    """(d,)"""
    noise: float
    """Variance of the noise, in standardised units as the next."""
    constant: float
    """The prior mean."""
    retries: int
    """Repeats with a higher noise floor that the fit took."""


def fit_hyperparameters(history: History, *, kernel: str = "matern52") -> GaussianProcessFit:
    """The maximum of the posterior density over the hyperparameters.

    One lengthscale per dimension, BoTorch's dimension-scaled priors (Hvarfner et al. 2024), standardised
    values. The optimisation starts at the modes of the priors, as BoTorch's, and is a function of the data
    alone. It is fast because the objective and its gradient are evaluated in closed form; the result is what
    `fit_gpytorch_mll` finds, to within its tolerance.

    A fit that fails numerically is repeated with a higher lower bound of the noise (1e-3, then 1e-2 of the
    variance). Every repeat is logged as a warning of the logger `diffhpo` and counted.

    Args:
        history: at least one trial; what failed or is pending is not read. More than 300 trials are thinned,
            see `History.bounded`; values beyond 1e60 are clipped.
        kernel: "matern52" or "rbf".

    Raises:
        InputError: on no trial or an unknown kernel.
        DiffHPOError: if the last repeat fails as well.

    Example:
        >>> x = np.linspace(0, 1, 6)[:, None]
        >>> fit = fit_hyperparameters(History(x, (x[:, 0] - 0.4) ** 2))
        >>> fit.lengthscale.shape, fit.retries
        ((1,), 0)
    """
    if kernel not in KERNELS:
        raise InputError(f"kernel is {kernel!r}; accepted: {', '.join(KERNELS)}")
    x, values, z, location, scale = _trials(history)
    length, noise = lengthscale_prior(history.dim), noise_prior()
    objective = _NegativeLogPosterior(x, z, kernel, length, noise)
    parameters, retries = _maximise(objective, history.dim, length.bound)
    return GaussianProcessFit(
        x,
        values,
        z,
        location,
        scale,
        kernel,
        np.maximum(np.exp(parameters[:-1]), length.bound),
        max(float(np.exp(parameters[-1])), NOISE_FLOORS[0]),
        objective.mean(parameters),
        retries,
    )


def with_other_trials(fit: GaussianProcessFit, history: History) -> GaussianProcessFit:
    """The same lengthscales and noise for other trials, standardised anew and with their own mean.

    Args:
        fit: of trials of as many dimensions.
        history: as in `fit_hyperparameters`.

    Raises:
        InputError: on no trial, or trials of other dimensions.

    Example:
        >>> x = np.linspace(0, 1, 6)[:, None]
        >>> fit = fit_hyperparameters(History(x[:4], x[:4, 0]))
        >>> grown = with_other_trials(fit, History(x, x[:, 0]))
        >>> len(grown.z), bool(grown.lengthscale == fit.lengthscale)
        (6, True)
    """
    if history.dim != len(fit.lengthscale):
        raise InputError(f"history has {history.dim} dimensions; the fit has {len(fit.lengthscale)}")
    x, values, z, location, scale = _trials(history)
    objective = _NegativeLogPosterior(x, z, fit.kernel, lengthscale_prior(history.dim), noise_prior())
    parameters = np.log(np.append(fit.lengthscale, fit.noise))
    return replace(
        fit,
        x=x,
        values=values,
        z=z,
        location=location,
        scale=scale,
        constant=objective.mean(parameters),
        retries=0,
    )


class _NegativeLogPosterior:
    r"""-log p(z, hyperparameters) of exact GP regression, and its gradient, in float64.

    .. math:: -\log N(z \mid m 1, K + \sigma^2 I) - \sum_j \log p(\ell_j) - \log p(\sigma^2)

    It is minus n times the objective of GPyTorch's ExactMarginalLogLikelihood for BoTorch's default priors
    (Hvarfner et al. 2024, arXiv 2402.02229), at 2 percent of its cost for 55 trials. The arguments are the
    logarithms of the d lengthscales and of the noise variance: in these the problem is well scaled, where
    the lengthscales themselves range over four decades. The constant mean m takes its optimal value, so
    its derivative vanishes (Rasmussen and Williams 2006, eq. 5.9 and 2.43 for the rest).
    """

    def __init__(
        self,
        x: Array,
        z: Array,
        kernel: str,
        length: Prior,
        noise: Prior,
    ) -> None:
        self._squared = np.square(x.T[:, :, None] - x.T[:, None, :]).reshape(x.shape[1], -1)
        self._z, self._kernel = z, kernel
        priors = [length] * x.shape[1] + [noise]
        self.location = np.array([prior.location for prior in priors])
        self.variance = np.array([prior.scale for prior in priors]) ** 2

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        n = len(self._z)
        inverse_squares, noise = np.exp(-2 * parameters[:-1]), np.exp(parameters[-1])
        covariance, slope = kernel_and_slope(inverse_squares @ self._squared, self._kernel)
        covariance = covariance.reshape(n, n)
        covariance[np.diag_indices(n)] += noise
        factor, info = lapack.dpotrf(covariance, lower=1)
        if info != 0:
            raise np.linalg.LinAlgError(f"the covariance is not positive definite at noise {noise:.1e}")
        inverse = lapack.dpotri(factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        row_sums = inverse.sum(axis=1)
        residual = self._z - (row_sums @ self._z) / row_sums.sum()
        weights = inverse @ residual
        outer = 0.5 * (inverse - np.outer(weights, weights))
        value = 0.5 * residual @ weights + np.log(np.diag(factor)).sum() + 0.5 * n * np.log(2 * np.pi)
        away = parameters - self.location
        value += np.sum(parameters + 0.5 * np.log(2 * np.pi * self.variance) + 0.5 * away**2 / self.variance)
        gradient = 1 + away / self.variance
        gradient[:-1] -= 2 * inverse_squares * (self._squared @ (outer.ravel() * slope))
        gradient[-1] += noise * np.trace(outer)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise np.linalg.LinAlgError(f"the likelihood is not finite at noise {noise:.1e}")
        return float(value), gradient

    def mean(self, parameters: Array) -> float:
        """The constant mean at these hyperparameters, the generalised least-squares estimate."""
        n = len(self._z)
        covariance = kernel_and_slope(np.exp(-2 * parameters[:-1]) @ self._squared, self._kernel)[0]
        row_sums = np.linalg.solve(covariance.reshape(n, n) + np.exp(parameters[-1]) * np.eye(n), np.ones(n))
        return float(row_sums @ self._z / row_sums.sum())


def kernel_and_slope(squared_distance: Array, kernel: str) -> tuple[Array, Array]:
    """k(s) and dk/ds for the squared scaled distance s (Rasmussen and Williams 2006, eq. 4.17 and 4.9)."""
    if kernel == "rbf":
        value = np.exp(-0.5 * squared_distance)
        return value, -0.5 * value
    distance = np.sqrt(5 * squared_distance)
    decay = np.exp(-distance)
    return (1 + distance + distance**2 / 3) * decay, (-5 / 6) * (1 + distance) * decay


def outcome_floor(y: Array) -> tuple[Array, float]:
    """The values within +-1e60, and the deviation below which they are standardised with scale 1.

    A spread near the rounding error of the values themselves is no signal.
    """
    values = np.clip(y, -LARGEST_VALUE, LARGEST_VALUE)
    return values, max(1 / LARGEST_VALUE, 1e-12 * float(np.abs(values).max()))


def _trials(history: History) -> tuple[Array, Array, Array, float, float]:
    """The first five fields of a `GaussianProcessFit`."""
    history = history.bounded(MAX_TRIALS)
    if len(history) == 0:
        raise InputError("x has no trial; a model needs at least one")
    values, floor = outcome_floor(history.y)
    return history.x, values, *_standardised(values, floor)


def _standardised(values: Array, floor: float) -> tuple[Array, float, float]:
    """The values less their mean, over their deviation; mean and deviation. As BoTorch's Standardize."""
    location = float(torch.tensor(values).mean())
    away = torch.tensor(values) - location
    scale = 1.0
    if len(values) > 1:
        deviation = float((away.pow(2).mean() * len(values) / (len(values) - 1)).sqrt())
        scale = deviation if deviation >= floor else scale
    return (away / scale).numpy(), location, scale


def _maximise(objective: _NegativeLogPosterior, dim: int, shortest: float) -> tuple[Array, int]:
    """The best parameters, and how many repeats with a higher noise floor they took."""
    location, variance = objective.location, objective.variance
    for retries, floor in enumerate(NOISE_FLOORS):
        bounds = [(np.log(shortest), np.log(LONGEST))] * dim + [(np.log(floor), np.log(LARGEST_NOISE))]
        # The mode of LogNormal(loc, scale) is exp(loc - scale^2).
        start = np.maximum(location - variance, [low for low, _ in bounds])
        try:
            result = minimize(
                objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_LBFGS_OPTIONS
            )
        except np.linalg.LinAlgError as error:
            _log.warning("the fit of a Gaussian process failed with noise >= %g: %s", floor, error)
            continue
        return result.x, retries
    raise DiffHPOError(
        f"the Gaussian process could not be fitted, not even with noise >= {NOISE_FLOORS[-1]} of the "
        "variance; check the history for values of wildly different magnitude"
    )
