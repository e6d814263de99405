# SPDX-License-Identifier: Apache-2.0
"""Random search."""

from __future__ import annotations

import numpy as np

from diffhpo.baselines.baseline import Baseline
from diffhpo.history import Array, History


class RandomSearch(Baseline):
    """Uniform in the unit cube, or uniform over the pending configurations (Bergstra and Bengio 2012).

    Args:
        seed: of the run.

    Example:
        >>> RandomSearch(seed=0).observe_and_suggest([[0.1, 0.2]], [1.0]).shape
        (1, 2)
    """

    def _suggest(self, history: History, seed: int) -> Array:
        return np.random.default_rng(seed).random(history.dim)

    def _suggest_batch(self, history: History, count: int, seed: int) -> Array:
        return np.random.default_rng(seed).random((count, history.dim))

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(np.random.default_rng(seed).integers(len(pool)))
