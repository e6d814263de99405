# SPDX-License-Identifier: Apache-2.0
"""Two surrogates of one real task: boosted trees, as HPO-B has them, and a smooth one."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DependencyError
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.smoother import Smoother

#: HPO-B's recipe with its most common choice of step size and rounds.
TREES = {"max_depth": 6, "eta": 0.1, "objective": "reg:squarederror", "nthread": 1, "seed": 0}
ROUNDS = 100
#: Responses further below the lower quartile than this many quartile ranges are drawn up to there.
TAIL = 3.0


def task_seed(name: str) -> int:
    """A seed of the task's name alone."""
    return zlib.crc32(name.encode())


class SurrogatePair:
    """A task's response anywhere, as two functions: column 0 trees, column 1 smooth.

    Args:
        task: Its rows are fitted, standardised; the far lower tail (diverged runs) is shortened.

    Raises:
        DependencyError: xgboost is not installed.
    """

    def __init__(self, task: RealTask) -> None:
        try:
            import xgboost
        except ImportError as error:
            raise DependencyError("surrogates of real tasks need xgboost: pip install xgboost-cpu") from error
        self.task = task
        y = task.y.astype(np.float64)
        low, high = np.quantile(y, [0.25, 0.75])
        y = np.maximum(y, low - TAIL * max(high - low, 0.1 * (y.max() - low), 1e-9))
        self.y: NDArray[np.float64] = (y - y.mean()) / max(float(y.std()), 1e-12)
        booster = xgboost.train(TREES, xgboost.DMatrix(task.x, label=self.y, nthread=1), ROUNDS)
        booster.set_param({"nthread": 1})
        self._trees: Any = booster
        self._smooth = Smoother(task.x, self.y, task.kinds, np.random.default_rng(task_seed(task.name)))

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(k, d) in [0, 1], on the task's levels -> (k, 2) standardised responses."""
        trees = self._trees.inplace_predict(np.ascontiguousarray(x))
        return np.stack([trees, self._smooth(x)], axis=1).astype(np.float32)
