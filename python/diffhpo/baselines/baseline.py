# SPDX-License-Identifier: Apache-2.0
"""What the baselines share: HPO-B's interface, the checks, and where their randomness comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.history import Array, History, check_pool
from diffhpo.policy import check_seed, derived_seed, initial_design
from diffhpo.process.one_thread import one_thread


class Baseline(ABC):
    """A method with HPO-B's interface; its suggestion is a function of the seed and the history alone.

    A subclass proposes a point (`_suggest`) or chooses a row of a pool (`_choose`). It gets a checked history
    with at least one trial, and a seed derived from the run's seed and the number of trials that were told.

    Args:
        seed: a whole number of 0 or more.

    Raises:
        InputError: on another seed.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_seed(seed)

    @one_thread()
    def observe_and_suggest(
        self, X_obs: ArrayLike, y_obs: ArrayLike, X_pen: ArrayLike | None = None
    ) -> Array | int:
        """The next configuration.

        Without trials the suggestion is the first point of a scrambled Sobol sequence, which is uniform in
        the cube, or the pending configuration nearest to it.

        Args:
            X_obs: (n, d) evaluated configurations in [0, 1]; n may be 0.
            y_obs: (n,) or (n, 1) their values, larger is better.
            X_pen: (m, d) pending configurations of the discrete protocol; None for the continuous one.

        Returns:
            Continuous: (1, d) float64 in [0, 1]. Discrete: the index of a row of X_pen.

        Raises:
            InputError: naming the argument, what came and what is accepted.
        """
        history = History.from_arrays(X_obs, y_obs)
        # Trials that were told twice count here: a random method must not draw the same point again.
        seed = derived_seed(self.seed, np.shape(y_obs)[0])
        if X_pen is None:
            if history.dim == 0:
                raise InputError("X_obs has no dimension; give an array of shape (0, d) for an empty history")
            point = self._suggest(history, seed) if len(history) else self._first(history.dim)
            return np.clip(np.asarray(point, dtype=np.float64), 0.0, 1.0).reshape(1, -1)
        pool = check_pool(X_pen, history.dim or None)
        if len(pool) == 1:
            return 0
        if len(history) == 0:
            return int(nearest_rows(self._first(pool.shape[1]), pool, 1)[0, 0])
        return int(self._choose(history, pool, seed))

    @one_thread()
    def suggest_batch(self, X_obs: ArrayLike, y_obs: ArrayLike, count: int) -> Array:
        """The next `count` configurations, which are evaluated together, (count, d) in [0, 1].

        Args:
            X_obs: (n, d) evaluated configurations in [0, 1]; n >= 1.
            y_obs: (n,) or (n, 1) their values, larger is better.
            count: how many, at least 1.

        Raises:
            InputError: naming the argument, or if the method has no batches.
        """
        count = whole_number(count, "count", least=1)
        history = History.from_arrays(X_obs, y_obs)
        if len(history) == 0:
            raise InputError("X_obs is empty; a batch needs at least one evaluated configuration")
        points = self._suggest_batch(history, count, derived_seed(self.seed, np.shape(y_obs)[0]))
        return np.clip(np.asarray(points, dtype=np.float64), 0.0, 1.0)

    def _suggest_batch(self, history: History, count: int, seed: int) -> Array:
        """The next configurations, (count, d)."""
        raise InputError(f"{type(self).__name__} suggests one configuration at a time, no batches")

    def _first(self, dim: int) -> Array:
        return initial_design(dim, 1, start=0, seed=self.seed)

    @abstractmethod
    def _suggest(self, history: History, seed: int) -> Array:
        """The next configuration, (d,) or (1, d)."""

    @abstractmethod
    def _choose(self, history: History, pool: Array, seed: int) -> int:
        """The index of the next configuration among the (m, d) pending ones, m >= 2."""


def nearest_rows(points: Array, pool: Array, count: int) -> Array:
    """(k, d) points -> (k, count) indices of their nearest rows of the pool, nearest first.

    Example:
        >>> nearest_rows(np.array([[0.2]]), np.array([[0.0], [0.3], [1.0]]), 2)
        array([[1, 0]])
    """
    return np.asarray(cKDTree(pool).query(points, k=[*range(1, min(count, len(pool)) + 1)])[1])
