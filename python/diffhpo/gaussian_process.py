# SPDX-License-Identifier: Apache-2.0
"""The Gaussian process that ranks candidates, as BoTorch's SingleTaskGP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffhpo.gaussian_process_fit import (
    GaussianProcessFit,
    Prior,
    fit_hyperparameters,
    lengthscale_prior,
    noise_prior,
    outcome_floor,
)
from diffhpo.history import History
from diffhpo.process.gpytorch_lock import gpytorch_lock

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP
    from gpytorch.constraints import GreaterThan
    from gpytorch.priors import LogNormalPrior


def fit_gaussian_process(x: Tensor, y: Tensor, *, kernel: str = "matern52") -> SingleTaskGP:
    """A SingleTaskGP at the maximum of its posterior density over the hyperparameters.

    Double precision; predictions are in the units of `y`. See `fit_hyperparameters`; its number of repeats is
    the attribute `fitting_retries` of the result.

    Args:
        x: (n, d) configurations in [0, 1], n >= 1; any real dtype. Repeated points are allowed; an equal
            value at an equal point counts once. More than 300 trials are thinned, see `History.bounded`.
        y: (n,) values; those beyond 1e60 are clipped.
        kernel: "matern52" or "rbf".

    Returns:
        The fitted model in evaluation mode.

    Raises:
        InputError: on bad shapes or values, no trial, or an unknown kernel.
        DiffHPOError: if the last repeat of the fit fails as well.

    Example:
        >>> x = torch.linspace(0, 1, 6, dtype=torch.float64).unsqueeze(1)
        >>> model = fit_gaussian_process(x, 10 * (x[:, 0] - 0.4) ** 2)
        >>> mean = model.posterior(torch.tensor([[0.4]], dtype=torch.float64)).mean.item()
        >>> bool(abs(mean) < 0.1), model.fitting_retries
        (True, 0)
    """
    return botorch_model(fit_hyperparameters(History(x, y), kernel=kernel))


@gpytorch_lock()
def botorch_model(fit: GaussianProcessFit) -> SingleTaskGP:
    """A fit as a SingleTaskGP with BoTorch's priors and bounds, in evaluation mode."""
    from botorch.models import SingleTaskGP
    from botorch.models.transforms.outcome import Standardize
    from gpytorch.kernels import MaternKernel, RBFKernel
    from gpytorch.likelihoods import GaussianLikelihood

    dim = fit.x.shape[1]
    length, noise = _log_normal(lengthscale_prior(dim)), _log_normal(noise_prior())
    kernel_class = RBFKernel if fit.kernel == "rbf" else MaternKernel
    model = SingleTaskGP(
        torch.tensor(fit.x),
        torch.tensor(fit.values).unsqueeze(1),
        likelihood=GaussianLikelihood(noise_prior=noise[0], noise_constraint=noise[1]),
        covar_module=kernel_class(
            ard_num_dims=dim, lengthscale_prior=length[0], lengthscale_constraint=length[1]
        ),
        outcome_transform=Standardize(m=1, min_stdv=outcome_floor(fit.values)[1]),
    )
    with torch.no_grad():
        model.covar_module.lengthscale = torch.tensor(fit.lengthscale)
        model.likelihood.noise = torch.tensor(fit.noise, dtype=torch.float64)
        model.mean_module.constant.fill_(fit.constant)
    model.fitting_retries = fit.retries  # type: ignore[assignment]  # a plain attribute of a module
    return model.eval()


def _log_normal(prior: Prior) -> tuple[LogNormalPrior, GreaterThan]:
    """GPyTorch's, in float32.

    GPyTorch and torch.distributions round what they are given to torch's default dtype, which is the
    caller's. Hyperparameters would differ with it.
    """
    from gpytorch.constraints import GreaterThan
    from gpytorch.priors import LogNormalPrior

    numbers = (torch.tensor(number, dtype=torch.float32) for number in (prior.location, prior.scale))
    density = LogNormalPrior(*numbers)
    bound = GreaterThan(prior.bound, transform=None, initial_value=density.mode)
    bound.lower_bound = torch.tensor(prior.bound, dtype=torch.float32)
    return density, bound
