# SPDX-License-Identifier: Apache-2.0
"""Search by a low-discrepancy sequence."""

from __future__ import annotations

from diffhpo.baselines.baseline import Baseline, nearest_rows
from diffhpo.history import Array, History
from diffhpo.policy import initial_design


class SobolSearch(Baseline):
    """The points of a scrambled Sobol sequence in their order (Owen 1998), whatever their values.

    Discrete: the pending configuration nearest to the next point.

    Args:
        seed: of the run; it scrambles the sequence.

    Example:
        >>> SobolSearch(seed=0).observe_and_suggest([[0.1, 0.2]], [1.0]).shape
        (1, 2)
    """

    def _suggest(self, history: History, seed: int) -> Array:
        return self._suggest_batch(history, 1, seed)[0]

    def _suggest_batch(self, history: History, count: int, seed: int) -> Array:
        return initial_design(history.dim, count, start=len(history), seed=self.seed)

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(nearest_rows(self._suggest(history, seed).reshape(1, -1), pool, 1)[0, 0])
