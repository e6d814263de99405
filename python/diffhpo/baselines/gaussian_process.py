# SPDX-License-Identifier: Apache-2.0
"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from diffhpo.acquisition import (
    UCB_BETA,
    check_acquisition,
    maximise_acquisition,
    raw_candidates,
    score_candidates,
)
from diffhpo.baselines.baseline import Baseline
from diffhpo.errors import InputError
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.gaussian_process_fit import KERNELS
from diffhpo.history import Array, History
from diffhpo.policy import new_rows

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

#: Points that are closer than this in every coordinate are one configuration.
SAME_POINT = 1e-8


class GaussianProcess(Baseline):
    """A Gaussian process on the run's own trials; the next trial maximises an acquisition function.

    By default Matern 5/2 and the logarithm of expected improvement, as BoTorch recommends. Continuous:
    L-BFGS-B from the best of 512 random and local candidates; a maximum at a configuration that was evaluated
    before gives way to the best new candidate, since its value is known. Discrete: all pending configurations
    are scored.

    Args:
        seed: of the run.
        acquisition: "logei", "ei", "pi" or "ucb".
        kernel: "matern52" or "rbf".
        ucb_beta: weight of the variance, for "ucb": mean + sqrt(beta) * deviation.

    Raises:
        InputError: on an unknown name or a negative weight.

    Example:
        >>> x = [[0.0], [0.3], [0.6], [1.0]]
        >>> point = GaussianProcess(seed=0).observe_and_suggest(x, [-0.16, -0.01, -0.04, -0.36])
        >>> bool(0.3 < point[0, 0] < 0.6)
        True
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        acquisition: str = "logei",
        kernel: str = "matern52",
        ucb_beta: float = UCB_BETA,
    ) -> None:
        super().__init__(seed)
        check_acquisition(acquisition, ucb_beta)
        if kernel not in KERNELS:
            raise InputError(f"kernel is {kernel!r}; accepted: {', '.join(KERNELS)}")
        self.acquisition, self.kernel, self.ucb_beta = acquisition, kernel, ucb_beta

    def _fit(self, history: History) -> SingleTaskGP:
        return fit_gaussian_process(torch.tensor(history.x), torch.tensor(history.y), kernel=self.kernel)

    def _scores(self, model: SingleTaskGP, points: Array, best: float) -> Array:
        scores = score_candidates(
            model, torch.from_numpy(points), best, self.acquisition, ucb_beta=self.ucb_beta
        )
        return scores.numpy()

    def _suggest(self, history: History, seed: int) -> Array:
        model = self._fit(history)
        point = maximise_acquisition(
            model, history.dim, history.best, self.acquisition, seed, ucb_beta=self.ucb_beta
        ).numpy()
        if np.abs(history.x - point).max(axis=1).min() > SAME_POINT:
            return point
        candidates = new_rows(raw_candidates(history.x, history.y, seed, 512), history.x)
        return candidates[self._scores(model, candidates, history.best).argmax()]

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(self._scores(self._fit(history), pool, history.best).argmax())
