# SPDX-License-Identifier: Apache-2.0
"""The control for the diffusion model: the best trials with noise added, ranked by the same model."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata

from diffhpo.acquisition import score_candidates, select_batch
from diffhpo.baselines.baseline import Baseline, nearest_rows
from diffhpo.errors import InputError
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.history import Array, History
from diffhpo.policy import new_rows


class JitteredElites(Baseline):
    """Candidates drawn around good trials, ranked by a Gaussian process's LogEI; nothing is learned.

    A trial of relative rank r in [0, 1] (1 is the best) is drawn with weight exp(greed * r); normal noise of
    deviation `jitter` is added on the scale [-1, 1], so half of it in [0, 1], and the result is clipped to
    the cube. The candidate with the largest LogEI is suggested as it is, without refinement by gradients.
    Where the diffusion model's candidates are no better than these, the model has not earned its cost. The
    points of a batch are chosen one after the other, see `select_batch`.

    Discrete: each candidate stands for its `pool_neighbours` nearest pending configurations, and the
    Gaussian process chooses among those.

    Args:
        seed: of the run.
        candidates: how many are drawn, at least 1.
        greed: 0 draws all trials alike.
        jitter: deviation on the scale [-1, 1], above 0.
        pool_neighbours: pending configurations that each candidate stands for, at least 1.

    Raises:
        InputError: on a setting out of range.

    Example:
        >>> method = JitteredElites(seed=0)
        >>> method.observe_and_suggest([[0.2], [0.4], [0.9]], [0.1, 0.9, 0.0], [[0.0], [0.45], [1.0]])
        1
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        candidates: int = 256,
        greed: float = 3.0,
        jitter: float = 0.4,
        pool_neighbours: int = 4,
    ) -> None:
        super().__init__(seed)
        if candidates < 1 or pool_neighbours < 1 or not greed >= 0 or not jitter > 0:
            raise InputError(
                f"candidates={candidates}, pool_neighbours={pool_neighbours}, greed={greed}, "
                f"jitter={jitter}; accepted: at least 1, at least 1, at least 0, above 0"
            )
        self.candidates, self.greed, self.jitter = candidates, greed, jitter
        self.pool_neighbours = pool_neighbours

    def draw(self, history: History, seed: int) -> Array:
        """The candidates, (candidates, d) in [0, 1]; a function of the history and the seed."""
        rng = np.random.default_rng(seed)
        rank = (rankdata(history.y) - 1) / max(len(history) - 1, 1)
        weight = np.exp(self.greed * rank)
        elites = history.x[rng.choice(len(history), size=self.candidates, p=weight / weight.sum())]
        return np.clip(elites + self.jitter / 2 * rng.normal(size=elites.shape), 0.0, 1.0)

    def _best(self, history: History, points: Array) -> int:
        model = fit_gaussian_process(torch.tensor(history.x), torch.tensor(history.y))
        return int(score_candidates(model, torch.from_numpy(points), history.best).argmax())

    def _suggest(self, history: History, seed: int) -> Array:
        points = self.draw(history, seed)
        new = new_rows(points, history.x)
        points = new if len(new) else points
        return points[self._best(history, points)]

    def _suggest_batch(self, history: History, count: int, seed: int) -> Array:
        points = self.draw(history, seed)
        new = new_rows(points, history.x)
        candidates = torch.from_numpy(new if len(new) >= count else points)
        model = fit_gaussian_process(torch.tensor(history.x), torch.tensor(history.y))
        return candidates[select_batch(model, candidates, count, history.best)].numpy()

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        shortlist = np.unique(nearest_rows(self.draw(history, seed), pool, self.pool_neighbours))
        return int(shortlist[self._best(history, pool[shortlist])])
