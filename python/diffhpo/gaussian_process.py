# SPDX-License-Identifier: Apache-2.0
"""The Gaussian process that ranks candidates: BoTorch's SingleTaskGP, fitted in closed form on small data."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize
from torch import Tensor

from diffhpo.errors import DiffHPOError, InputError
from diffhpo.history import History
from diffhpo.process.gpytorch_lock import gpytorch_lock

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP
    from gpytorch.constraints import GreaterThan
    from gpytorch.priors import LogNormalPrior

Array: TypeAlias = NDArray[np.float64]

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
        length_prior: tuple[float, float],
        noise_prior: tuple[float, float],
    ) -> None:
        self._squared = np.square(x.T[:, :, None] - x.T[:, None, :]).reshape(x.shape[1], -1)
        self._z, self._kernel = z, kernel
        self.location = np.array([length_prior[0]] * x.shape[1] + [noise_prior[0]])
        self.variance = np.array([length_prior[1]] * x.shape[1] + [noise_prior[1]]) ** 2

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


@gpytorch_lock()
def fit_gaussian_process(x: Tensor, y: Tensor, *, kernel: str = "matern52") -> SingleTaskGP:
    """A SingleTaskGP at the maximum of its posterior density over the hyperparameters.

    Double precision, one lengthscale per dimension, BoTorch's dimension-scaled priors (Hvarfner et al. 2024),
    standardised outcomes: predictions are in the units of `y`. Constant values and a single trial are
    standardised with scale 1. The optimisation starts at the modes of the priors, as BoTorch's, and is a
    function of the data alone. It is fast because the objective and its gradient are evaluated in closed
    form; the result is what `fit_gpytorch_mll` finds, to within its tolerance.

    A fit that fails numerically is repeated with a higher lower bound of the noise (1e-3, then 1e-2 of the
    outcome variance). Every repeat is logged as a warning of the logger `diffhpo` and counted in the
    attribute `fitting_retries` of the result.

    Args:
        x: (n, d) configurations in [0, 1], n >= 1; any real dtype. Repeated points are allowed; an equal
            value at an equal point counts once. More than 300 trials are thinned, see `History.bounded`.
        y: (n,) values; those beyond 1e60 are clipped.
        kernel: "matern52" or "rbf".

    Returns:
        The fitted model in evaluation mode.

    Raises:
        InputError: on bad shapes or values, no trial, or an unknown kernel.
        DiffHPOError: if the last repeat fails as well.

    Example:
        >>> x = torch.linspace(0, 1, 6, dtype=torch.float64).unsqueeze(1)
        >>> model = fit_gaussian_process(x, 10 * (x[:, 0] - 0.4) ** 2)
        >>> mean = model.posterior(torch.tensor([[0.4]], dtype=torch.float64)).mean.item()
        >>> bool(abs(mean) < 0.1), model.fitting_retries
        (True, 0)
    """
    if kernel not in KERNELS:
        raise InputError(f"kernel is {kernel!r}; accepted: {', '.join(KERNELS)}")
    history = History(x, y).bounded(MAX_TRIALS)
    if len(history) == 0:
        raise InputError("x has no trial; a model needs at least one")
    model = _build_model(history, kernel)
    length_prior, noise_prior = model.covar_module.lengthscale_prior, model.likelihood.noise_covar.noise_prior
    objective = _NegativeLogPosterior(
        history.x,
        model.train_targets.numpy(),
        kernel,
        (float(length_prior.loc), float(length_prior.scale)),
        (float(noise_prior.loc), float(noise_prior.scale)),
    )
    shortest = float(model.covar_module.raw_lengthscale_constraint.lower_bound)
    parameters, retries = _maximise(objective, history.dim, shortest)
    with torch.no_grad():
        model.covar_module.lengthscale = torch.from_numpy(np.maximum(np.exp(parameters[:-1]), shortest))
        model.likelihood.noise = torch.tensor(max(np.exp(parameters[-1]), NOISE_FLOORS[0]))
        model.mean_module.constant.fill_(objective.mean(parameters))
    model.fitting_retries = retries  # type: ignore[assignment]  # a plain attribute of a module
    return model.eval()


def outcome_floor(y: Array) -> tuple[Array, float]:
    """The values within +-1e60, and the deviation below which they are standardised with scale 1.

    A spread near the rounding error of the values themselves is no signal.
    """
    values = np.clip(y, -LARGEST_VALUE, LARGEST_VALUE)
    return values, max(1 / LARGEST_VALUE, 1e-12 * float(np.abs(values).max()))


def _build_model(history: History, kernel: str) -> SingleTaskGP:
    """The model with BoTorch's priors and bounds, see `_log_normal`."""
    from botorch.models import SingleTaskGP
    from botorch.models.transforms.outcome import Standardize
    from gpytorch.kernels import MaternKernel, RBFKernel
    from gpytorch.likelihoods import GaussianLikelihood

    values, floor = outcome_floor(history.y)
    length_prior = _log_normal(SHORTEST, math.sqrt(2) + math.log(history.dim) * 0.5, math.sqrt(3))
    noise_prior = _log_normal(NOISE_FLOORS[0], -4.0, 1.0)
    kernel_class = RBFKernel if kernel == "rbf" else MaternKernel
    return SingleTaskGP(
        torch.tensor(history.x),
        torch.tensor(values).unsqueeze(1),
        likelihood=GaussianLikelihood(noise_prior=noise_prior[0], noise_constraint=noise_prior[1]),
        covar_module=kernel_class(
            ard_num_dims=history.dim,
            lengthscale_prior=length_prior[0],
            lengthscale_constraint=length_prior[1],
        ),
        outcome_transform=Standardize(m=1, min_stdv=floor),
    )


def _log_normal(lower: float, location: float, scale: float) -> tuple[LogNormalPrior, GreaterThan]:
    """A prior and a lower bound, in float32 as BoTorch has them.

    GPyTorch and torch.distributions round what they are given to torch's default dtype, which is the
    caller's. Hyperparameters would differ with it.
    """
    from gpytorch.constraints import GreaterThan
    from gpytorch.priors import LogNormalPrior

    numbers = (torch.tensor(number, dtype=torch.float32) for number in (location, scale))
    prior = LogNormalPrior(*numbers)
    bound = GreaterThan(lower, transform=None, initial_value=prior.mode)
    bound.lower_bound = torch.tensor(lower, dtype=torch.float32)
    return prior, bound


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
