# SPDX-License-Identifier: Apache-2.0
"""The ranker: chooses among a policy's candidates by the LogEI of a GP fitted to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from diffhpo.acquisition import climb_acquisition, outcome_scale, score_candidates, select_batch
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.history import Array, History
from diffhpo.model.universal.belief import Belief
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import JITTER, GaussianProcesses
from diffhpo.policy import new_rows

if TYPE_CHECKING:
    from gpytorch.kernels import MaternKernel


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

    Raises:
        InputError: if the history has no trial.

    Example:
        >>> ranker = Ranker(History([[0.1], [0.4], [0.9]], [0.0, 1.0, 0.2]))
        >>> ranker.choose(np.array([[0.0], [0.45], [1.0]]), 1)
        array([1])
    """

    def __init__(self, history: History, *, warp: bool = False) -> None:
        x = np.concatenate([history.x, history.failed])
        y = np.concatenate(
            [history.y, np.full(len(history.failed), history.y.min() if len(history) else 0.0)]
        )
        y = normal_scores(y) if warp and len(y) else y
        self._history = history
        self._model = fit_gaussian_process(torch.tensor(x), torch.tensor(y))
        self._best = float(y.max())

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
        """(k, d) candidates -> (k,) LogEI."""
        return score_candidates(self._model, torch.tensor(candidates), self._best).numpy()

    def belief(self, candidates: Array) -> Belief:
        """The joint prediction of (k, d) candidates, to be conditioned on some of them."""
        x = torch.from_numpy(candidates)
        kernel = cast("MaternKernel", self._model.covar_module)
        lengthscale, constant = kernel.lengthscale.detach(), self._model.mean_module.constant.detach()
        trials = self._model.train_inputs[0] / lengthscale
        values = self._model.train_targets
        amplitude = torch.ones(1, 1, dtype=torch.float64)
        processes = GaussianProcesses.condition(
            ("matern52",),
            trials[None, None],
            (values - constant)[None, None],
            amplitude,
            self._model.likelihood.noise.detach().view(1, 1) - JITTER,  # at least that, see NOISE_FLOORS
            torch.ones(1, len(values), dtype=torch.bool),
        )
        points = (x / lengthscale)[None, None]
        joint = processes.joint(points)
        location, scale = outcome_scale(self._model)
        predicted = GaussianMixture(
            torch.zeros(1, len(x), 1, dtype=torch.float64),
            (constant + joint.mean).mT,
            joint.variance.mT.sqrt(),
        )
        best = torch.tensor([[(self._best - location) / scale]], dtype=torch.float64)
        return Belief(predicted, joint, best, noisy=False)

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
