# SPDX-License-Identifier: Apache-2.0
"""Acquisition functions: what a configuration is worth evaluating, given a fitted model."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.history import Array
from diffhpo.local_moves import moved_coordinates
from diffhpo.process.gpytorch_lock import gpytorch_lock

if TYPE_CHECKING:
    from botorch.acquisition.analytic import AnalyticAcquisitionFunction
    from botorch.models.model import Model
    from botorch.posteriors.gpytorch import GPyTorchPosterior

_log = logging.getLogger("diffhpo")

ACQUISITIONS = ("logei", "ei", "ucb", "pi")

#: Weight of the variance in UCB, mean + sqrt(beta) * deviation; 4 is two standard deviations.
UCB_BETA = 4.0

#: Candidates that are scored at once: a hundred trials in ten dimensions take 35 MB.
CHUNK = 4096

#: Of more candidates than this, a batch is chosen among those that score best before anything is pending.
BATCH_SHORTLIST = 2048


def check_acquisition(acquisition: str, ucb_beta: float = UCB_BETA) -> None:
    """Refuse an unknown acquisition function or a negative weight.

    Raises:
        InputError: saying what is accepted.
    """
    if acquisition not in ACQUISITIONS:
        raise InputError(f"acquisition is {acquisition!r}; accepted: {', '.join(ACQUISITIONS)}")
    if not 0 <= ucb_beta < float("inf"):
        raise InputError(f"ucb_beta is {ucb_beta}; a finite number of 0 or more is needed")


@gpytorch_lock()
def score_candidates(
    model: Model,
    candidates: Tensor,
    best: float,
    acquisition: str = "logei",
    *,
    ucb_beta: float = UCB_BETA,
    chunk: int = CHUNK,
) -> Tensor:
    r"""The acquisition value of each candidate, by BoTorch's analytic functions.

    With the posterior N(mu, s^2) of the noise-free value and u = (mu - best) / s::

        ei     s (phi(u) + u Phi(u))           (Jones et al. 1998)
        logei  its logarithm, exact also where it underflows   (Ament et al. 2023, arXiv 2310.20708)
        pi     Phi(u)                          (Kushner 1964)
        ucb    mu + sqrt(ucb_beta) s           (Srinivas et al. 2010)

    Args:
        model: from `fit_gaussian_process`, or any model whose posterior is in the units of `best`.
        candidates: (k, d) points; k may be 0.
        best: the best value so far, in the units of the values that the model was fitted to.
        acquisition: "logei", "ei", "ucb" or "pi".
        ucb_beta: weight of the variance, for "ucb".
        chunk: candidates that are scored at once. It bounds the memory; the scores do not depend on it
            beyond rounding.

    Returns:
        (k,) float64 scores in the units of `best` ("logei": their logarithm; "pi": a probability).

    Raises:
        InputError: on an unknown acquisition function or a shape other than (k, d).

    Example:
        >>> from diffhpo.gaussian_process import fit_gaussian_process
        >>> x = torch.tensor([[0.1], [0.4], [0.9]])
        >>> model = fit_gaussian_process(x, torch.tensor([0.0, 1.0, 0.2]))
        >>> score_candidates(model, torch.tensor([[0.4], [0.55]]), best=1.0).argmax().item()
        1
    """
    scores = _standardised_scores(model, candidates, best, acquisition, ucb_beta, chunk)
    location, scale = outcome_scale(model)
    if acquisition == "ei":
        return scores * scale
    if acquisition == "logei":
        return scores + np.log(scale)
    return scores if acquisition == "pi" else location + scores * scale


@gpytorch_lock()
def maximise_acquisition(
    model: Model,
    dim: int,
    best: float,
    acquisition: str = "logei",
    seed: int = 0,
    *,
    ucb_beta: float = UCB_BETA,
    raw_samples: int = 512,
    num_restarts: int = 4,
    max_iterations: int = 50,
) -> Tensor:
    """The point of the unit cube where the acquisition function is largest, (d,) float64.

    BoTorch's `optimize_acqf` (L-BFGS-B on all coordinates) from the best of `raw_candidates`: half of the
    starts from the uniform ones, half from those near good trials.

    Args:
        model, best, acquisition, ucb_beta: as in `score_candidates`.
        dim: d.
        seed: of the raw candidates; the global random state is neither read nor changed.
        raw_samples: candidates among which the starts are chosen.
        num_restarts: starts, at least 2.
        max_iterations: of each L-BFGS-B run.

    Raises:
        InputError: on an unknown acquisition function.
    """
    x, y = cast(tuple[Tensor], model.train_inputs)[0].numpy(), cast(Tensor, model.train_targets).numpy()
    raw = torch.from_numpy(raw_candidates(x, y, seed, raw_samples))
    scores = _standardised_scores(model, raw, best, acquisition, ucb_beta, CHUNK)
    half = raw_samples // 2
    uniform = scores[:half].topk(num_restarts - num_restarts // 2).indices
    local = half + scores[half:].topk(num_restarts // 2).indices
    starts = raw[torch.cat([uniform, local])]
    return climb_acquisition(
        model, starts, best, acquisition, ucb_beta=ucb_beta, max_iterations=max_iterations
    )


@gpytorch_lock()
def climb_acquisition(
    model: Model,
    starts: Tensor,
    best: float,
    acquisition: str = "logei",
    *,
    ucb_beta: float = UCB_BETA,
    max_iterations: int = 50,
) -> Tensor:
    """The best point that L-BFGS-B on all coordinates reaches from the starts, by BoTorch's `optimize_acqf`.

    Args:
        model, best, acquisition, ucb_beta: as in `score_candidates`.
        starts: (k, d) points in [0, 1], k >= 1.
        max_iterations: of each run of L-BFGS-B.

    Returns:
        (d,) float64 in [0, 1].

    Raises:
        InputError: on an unknown acquisition function.

    Example:
        >>> from diffhpo.gaussian_process import fit_gaussian_process
        >>> x = torch.linspace(0, 1, 6, dtype=torch.float64).unsqueeze(1)
        >>> model = fit_gaussian_process(x, -((x[:, 0] - 0.5) ** 2))
        >>> point = climb_acquisition(model, torch.tensor([[0.3]]), best=-0.01)
        >>> bool((point - 0.5).abs() < 0.05)
        True
    """
    from botorch.exceptions.errors import OptimizationGradientError
    from botorch.exceptions.warnings import BotorchWarning
    from botorch.optim.optimize import optimize_acqf

    starts = starts.double()
    bounds = torch.stack([torch.zeros_like(starts[0]), torch.ones_like(starts[0])])
    # optimize_acqf draws nothing where the starts are given.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BotorchWarning)
        try:
            point, _ = optimize_acqf(
                _acquisition_function(model, best, acquisition, ucb_beta),
                bounds=bounds,
                q=1,
                num_restarts=len(starts),
                batch_initial_conditions=starts.unsqueeze(1),
                options={"maxiter": max_iterations},
                retry_on_optimization_warning=False,
            )
        except OptimizationGradientError as error:
            _log.warning("the best start is used, for L-BFGS-B met a gradient of nan: %s", error)
            scores = _standardised_scores(model, starts, best, acquisition, ucb_beta, CHUNK)
            point = starts[scores.argmax()].unsqueeze(0)
    for warning in caught:  # the best point found so far is returned all the same
        _log.info("while the acquisition function was maximised: %s", warning.message)
    return point.detach().squeeze(0).clamp(0, 1)


def raw_candidates(x: Array, y: Array, seed: int, count: int) -> Array:
    """`count` points of the unit cube, (count, d): the first half uniform, the rest near the best trials.

    The latter are the ten best of the trials `x` (n, d), by their values `y` (n,), plus normal noise, whose
    deviation is log-uniform from 0.001 to 0.3, clipped to [0, 1]; each coordinate stays as it is with
    probability 1/2, but never all of them.
    """
    rng = np.random.default_rng(seed)
    half, dim = count // 2, x.shape[1]
    uniform = rng.random((half, dim))
    best = x[np.argsort(-y, kind="stable")[:10]]
    centres = best[rng.integers(len(best), size=count - half)]
    deviation = np.exp(rng.uniform(np.log(0.001), np.log(0.3), size=(count - half, 1)))
    moved = moved_coordinates(centres.shape, rng)
    local = np.clip(centres + moved * deviation * rng.normal(size=centres.shape), 0, 1)
    return np.concatenate([uniform, local])


@gpytorch_lock()
def select_batch(
    model: Model,
    candidates: Tensor,
    q: int,
    best: float,
    acquisition: str = "logei",
    *,
    ucb_beta: float = UCB_BETA,
    pending: Tensor | None = None,
) -> Tensor:
    """The indices of `q` different candidates, chosen one after the other.

    Each is the best by the acquisition function, after the pending points and those chosen before are added
    to the model with their posterior mean as value (kriging believer, Ginsbourger et al. 2010): they leave
    the mean as it is and take away the variance around them. A candidate equal to a chosen one is passed
    over as long as there are others.

    Args:
        model, best, acquisition, ucb_beta: as in `score_candidates`.
        candidates: (k, d) with k >= q. Of more than 2,048 those that score best at first are looked at.
        q: how many, at least 1.
        pending: (p, d) points that are being evaluated now.

    Returns:
        (q,) int64, in the order of choice.

    Raises:
        InputError: if `q` is below 1 or above k, or on an unknown acquisition function.

    Example:
        >>> from diffhpo.gaussian_process import fit_gaussian_process
        >>> x = torch.tensor([[0.1], [0.4], [0.9]])
        >>> model = fit_gaussian_process(x, torch.tensor([0.0, 1.0, 0.2]))
        >>> len(set(select_batch(model, torch.linspace(0, 1, 9).unsqueeze(1), 3, best=1.0).tolist()))
        3
    """
    if not 1 <= q <= len(candidates):
        raise InputError(f"q is {q}; from 1 to the number of candidates, {len(candidates)}, are possible")
    candidates = candidates.double()
    if pending is not None and len(pending):
        for point in pending.double():
            model, best = _believe(model, point, best)
    scores = _standardised_scores(model, candidates, best, acquisition, ucb_beta, CHUNK)
    if q == 1:
        return scores.argmax().unsqueeze(0)
    shortlist = scores.argsort(descending=True, stable=True)[: max(BATCH_SHORTLIST, 4 * q)]
    points, scores = candidates[shortlist], scores[shortlist]
    chosen: list[int] = []
    duplicate = torch.zeros(len(points), dtype=torch.bool)
    while True:
        taken = torch.zeros(len(points), dtype=torch.bool)
        taken[chosen] = True
        excluded = taken if bool((duplicate | taken).all()) else duplicate | taken
        chosen.append(int(scores.masked_fill(excluded, -torch.inf).argmax()))
        if len(chosen) == q:
            return shortlist[chosen]
        duplicate |= (points == points[chosen[-1]]).all(dim=1)
        model, best = _believe(model, points[chosen[-1]], best)
        scores = _standardised_scores(model, points, best, acquisition, ucb_beta, CHUNK)


def _believe(model: Model, point: Tensor, best: float) -> tuple[Model, float]:
    """The model with the posterior mean at `point` taken for an observation, and the best value then."""
    with torch.no_grad():
        value = cast("GPyTorchPosterior", model.posterior(point.unsqueeze(0))).mean
        return model.condition_on_observations(point.unsqueeze(0), value), max(best, value.item())


def outcome_scale(model: Model) -> tuple[float, float]:
    """Mean and deviation that the outcomes were standardised with."""
    transform = getattr(model, "outcome_transform", None)
    if transform is None:
        return 0.0, 1.0
    return transform.means.item(), transform.stdvs.item()


def _acquisition_function(
    model: Model, best: float, acquisition: str, ucb_beta: float
) -> AnalyticAcquisitionFunction:
    """BoTorch's function of the standardised posterior.

    In the units of the values BoTorch's lower bound of the variance, 1e-12, would hide all differences
    between values that are closer than 1e-6; in standardised units it is rounding error.
    """
    from botorch.acquisition import analytic
    from botorch.acquisition.objective import ScalarizedPosteriorTransform
    from botorch.exceptions.warnings import NumericsWarning

    check_acquisition(acquisition, ucb_beta)
    location, scale = outcome_scale(model)
    standardise = ScalarizedPosteriorTransform(
        weights=torch.tensor([1 / scale], dtype=torch.float64), offset=-location / scale
    )
    if acquisition == "ucb":
        return analytic.UpperConfidenceBound(model, beta=ucb_beta, posterior_transform=standardise)
    best_f = (best - location) / scale
    if acquisition == "logei":
        return analytic.LogExpectedImprovement(model, best_f, posterior_transform=standardise)
    if acquisition == "ei":
        with warnings.catch_warnings():  # that LogEI is preferable; the caller has asked for EI
            warnings.simplefilter("ignore", NumericsWarning)
            return analytic.ExpectedImprovement(model, best_f, posterior_transform=standardise)
    return analytic.ProbabilityOfImprovement(model, best_f, posterior_transform=standardise)


def _standardised_scores(
    model: Model, candidates: Tensor, best: float, acquisition: str, ucb_beta: float, chunk: int
) -> Tensor:
    """Scores in standardised units, which rank as those in the units of the values."""
    if candidates.ndim != 2:
        raise InputError(f"candidates has shape {tuple(candidates.shape)}; a matrix (k, d) is needed")
    function = _acquisition_function(model, best, acquisition, ucb_beta)
    scores = torch.empty(len(candidates), dtype=torch.float64)
    with torch.no_grad():
        for first in range(0, len(candidates), chunk):
            part = candidates[first : first + chunk].double()
            scores[first : first + chunk] = function(part.unsqueeze(1))
    return scores
