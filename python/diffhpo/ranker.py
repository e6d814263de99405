# SPDX-License-Identifier: Apache-2.0
"""The ranker: chooses among a policy's candidates by the LogEI of a GP fitted to the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from diffhpo.acquisition import climb_acquisition, score_candidates, select_batch
from diffhpo.gaussian_process import botorch_model
from diffhpo.gaussian_process_fit import GaussianProcessFit, fit_hyperparameters, with_other_trials
from diffhpo.history import Array, History
from diffhpo.model.universal.belief import Belief, NativeBelief, belief_of
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import JITTER, GaussianProcesses
from diffhpo.policy import new_rows

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP


def normal_scores(y: Array) -> Array:
    """(n,) values -> (n,) normal quantiles of their mid-ranks, (rank - 1/2) / n.

    The copula transform of Salinas et al. (2020, arXiv 1909.13595): what a GP then sees is normal whatever
    the scale of the objective, and a few terrible trials do not flatten the differences among good ones.

    Example:
        >>> normal_scores(np.array([1.0, 1e9, 2.0])).round(2)
        array([-0.97,  0.97,  0.  ])
    """
    return norm.ppf((rankdata(y) - 0.5) / len(y))


class Ranker:
    """Ranks candidates for one history.

    A failed trial counts as one with the worst value seen. Pending trials count as observed at their
    posterior mean (kriging believer).

    Args:
        history: at least one trial.
        warp: fit the GP to `normal_scores` of the values instead of the values.
        fit: of some of the trials, whose lengthscales and noise are kept; fitted anew without it.

    Raises:
        InputError: if the history has no trial, or the fit is of other dimensions.

    Example:
        >>> ranker = Ranker(History([[0.1], [0.4], [0.9]], [0.0, 1.0, 0.2]))
        >>> ranker.choose(np.array([[0.0], [0.45], [1.0]]), 1)
        array([1])
    """

    def __init__(
        self, history: History, *, warp: bool = False, fit: GaussianProcessFit | None = None
    ) -> None:
        x = np.concatenate([history.x, history.failed])
        y = np.concatenate(
            [history.y, np.full(len(history.failed), history.y.min() if len(history) else 0.0)]
        )
        y = normal_scores(y) if warp and len(y) else y
        self._history = history
        seen = History(x, y)
        self._fit = fit_hyperparameters(seen) if fit is None else with_other_trials(fit, seen)
        self._best = float(y.max())

    @property
    def fit(self) -> GaussianProcessFit:
        """The GP's hyperparameters and trials."""
        return self._fit

    def choose(self, candidates: Array, count: int) -> NDArray[np.int64]:
        """The indices of the `count` candidates to evaluate, different and in the order of choice.

        Args:
            candidates: (k, d) with k >= count.
            count: at least 1.
        """
        pending = torch.tensor(self._history.pending) if len(self._history.pending) else None
        chosen = select_batch(self._model, torch.tensor(candidates), count, self._best, pending=pending)
        return chosen.numpy()

    def scores(self, candidates: Array) -> Array:
        """(k, d) candidates -> (k,) LogEI, in the units of the values."""
        return score_candidates(self._model, torch.tensor(candidates), self._best).numpy()

    def belief(self, candidates: Array) -> Belief | NativeBelief:
        """The joint prediction of (k, d) candidates, to be conditioned on some of them; in the units of the
        values."""
        fit = self._fit
        joint = self._process.joint(torch.from_numpy(candidates / fit.lengthscale)[None, None])
        predicted = GaussianMixture(
            torch.zeros(1, len(candidates), 1, dtype=torch.float64),
            fit.location + fit.scale * (fit.constant + joint.mean).mT,
            fit.scale * joint.variance.mT.sqrt(),
        )
        best = torch.tensor([[self._best]], dtype=torch.float64)
        return belief_of(predicted, joint, best, noisy=False)

    def held_out_log_density(self, folds: Sequence[NDArray[np.int64]]) -> Array:
        """(n,) log densities of each trial's value, given the trials of the other folds and the
        hyperparameters of the fit to all (Rasmussen and Williams 2006, eq. 5.10 to 5.12, for parts).

        Args:
            folds: parts of 0 to n - 1, each trial in one of them; n at most 300, so that no trial was left
                out of the fit.
        """
        process = self._process
        inverse = torch.cholesky_inverse(process.factor[0, 0])
        weights = process.weights[0, 0]
        out = np.empty(len(weights))
        for fold in folds:
            covariance = torch.linalg.inv(inverse[fold][:, fold])
            residual, variance = covariance @ weights[fold], covariance.diagonal()
            density = -0.5 * (residual**2 / variance + variance.log() + math.log(2 * math.pi))
            out[fold] = density.numpy() - math.log(self._fit.scale)
        return out

    @cached_property
    def _model(self) -> SingleTaskGP:
        """The fit for BoTorch's acquisition functions."""
        return botorch_model(self._fit)

    @cached_property
    def _process(self) -> GaussianProcesses:
        """The fit, of standardised values, with its factor."""
        fit = self._fit
        return GaussianProcesses.condition(
            ("matern52",),
            torch.from_numpy(fit.x / fit.lengthscale)[None, None],
            torch.from_numpy(fit.z - fit.constant)[None, None],
            torch.ones(1, 1, dtype=torch.float64),
            # At least that, see NOISE_FLOORS.
            torch.tensor([[fit.noise - JITTER]], dtype=torch.float64),
            torch.ones(1, len(fit.z), dtype=torch.bool),
            executor="auto",
        )

    def climb(self, *groups: Array, starts: int = 2) -> Array:
        """The point where LogEI is largest among those that gradients reach from the best of each group.

        Args:
            groups: candidates (k, d); each group gives its `starts` best as starting points, so that one
                crowded region does not take all of them.
            starts: of each group.

        Returns:
            (d,) in [0, 1]; the best candidate itself where the climb ends at a known configuration.
        """
        scores = [score_candidates(self._model, torch.tensor(group), self._best) for group in groups]
        chosen = [
            group[score.topk(min(starts, len(group))).indices.numpy()]
            for group, score in zip(groups, scores, strict=True)
        ]
        point = climb_acquisition(self._model, torch.tensor(np.concatenate(chosen)), self._best).numpy()
        if len(new_rows(point[None], self._history.seen)):
            return point
        return np.concatenate(groups)[int(torch.cat(scores).argmax())]
