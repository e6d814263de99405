# SPDX-License-Identifier: Apache-2.0
"""Bayesian optimisation with a deep-kernel Gaussian process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffhpo.acquisition import UCB_BETA, check_acquisition, raw_candidates, score_candidates
from diffhpo.baselines.baseline import Baseline
from diffhpo.baselines.deep_kernel import fit_deep_kernel
from diffhpo.errors import InputError
from diffhpo.history import Array, History
from diffhpo.policy import new_rows

#: Candidates of the continuous protocol, half uniform, half near the best trials.
RAW_SAMPLES = 1024

#: Deviations of the rounds of local refinement, and the points that each adds around the eight best.
REFINEMENT, REFINEMENT_SAMPLES = (0.05, 0.02, 0.007), 128


class DeepGaussianProcess(Baseline):
    """A Gaussian process on features that a network learns from the run's own trials.

    The baseline that HPO-B calls DGP: the deep kernel of Wistuba and Grabocka (2021, arXiv 2101.07667)
    without their meta-learning. Network and hyperparameters are trained afresh for every suggestion, so that
    it is a function of the seed and the history.

    Continuous: the best of 1,024 random and local candidates after three rounds of random local refinement;
    through ReLU features, gradients of the acquisition function lead no further and cost seconds. Discrete:
    all pending configurations are scored.

    Args:
        seed: of the run; it also draws the network's initial weights.
        acquisition: "logei", "ei", "pi" or "ucb".
        ucb_beta: weight of the variance, for "ucb".
        widths: units of the network's layers; the last layer's are the features.
        steps: of Adam, at most.
        learning_rate: of Adam.

    Raises:
        InputError: on an unknown name or a setting out of range.

    Example:
        >>> x = [[0.0], [0.3], [0.6], [1.0]]
        >>> method = DeepGaussianProcess(seed=0, steps=20)
        >>> method.observe_and_suggest(x, [-0.16, -0.01, -0.04, -0.36]).shape
        (1, 1)
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        acquisition: str = "logei",
        ucb_beta: float = UCB_BETA,
        widths: tuple[int, ...] = (32, 32),
        steps: int = 500,
        learning_rate: float = 1e-2,
    ) -> None:
        super().__init__(seed)
        check_acquisition(acquisition, ucb_beta)
        if not widths or min(widths) < 1 or steps < 0 or not learning_rate > 0:
            raise InputError(
                f"widths={widths}, steps={steps}, learning_rate={learning_rate}; accepted: at least one "
                "layer of at least one unit, at least 0, above 0"
            )
        self.acquisition, self.ucb_beta = acquisition, ucb_beta
        self.widths, self.steps, self.learning_rate = tuple(widths), steps, learning_rate

    def _model_scores(self, history: History, seed: int) -> Callable[[Array], Array]:
        trained = fit_deep_kernel(
            history, seed=seed, widths=self.widths, steps=self.steps, learning_rate=self.learning_rate
        )

        def scores(points: Array) -> Array:
            return score_candidates(
                trained.model,
                trained.features(points),
                history.best,
                self.acquisition,
                ucb_beta=self.ucb_beta,
            ).numpy()

        return scores

    def _suggest(self, history: History, seed: int) -> Array:
        scores = self._model_scores(history, seed)
        points = new_rows(raw_candidates(history.x, history.y, seed, RAW_SAMPLES), history.x)
        values = scores(points)
        rng = np.random.default_rng([seed, 1])
        for deviation in REFINEMENT:
            best = points[np.argsort(-values, kind="stable")[:8]]
            moves = deviation * rng.normal(size=(REFINEMENT_SAMPLES, history.dim))
            moved = np.clip(best[rng.integers(len(best), size=len(moves))] + moves, 0, 1)
            moved = new_rows(moved, history.x)
            points, values = np.concatenate([points, moved]), np.concatenate([values, scores(moved)])
        return points[values.argmax()]

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(self._model_scores(history, seed)(pool).argmax())
