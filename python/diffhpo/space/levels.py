# SPDX-License-Identifier: Apache-2.0
"""Ordered levels on the unit interval: each of `count` owns an equal share and stands in its middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Beyond so many levels the middle of a share is no longer told from its ends in double precision.
MOST_LEVELS = 2**50


def level_at(unit: Array, count: int) -> NDArray[np.int64]:
    """Points of [0, 1] -> levels 0 to count - 1.

    Example:
        >>> level_at(np.array([0.0, 0.49, 0.5, 1.0]), 2).tolist()
        [0, 0, 1, 1]
    """
    return np.minimum(np.floor(np.asarray(unit) * count), count - 1).astype(np.int64)


def middle_of(level: NDArray[np.int64] | int, count: int) -> Array:
    """Levels -> the points that stand for them.

    Example:
        >>> float(middle_of(0, 2))
        0.25
    """
    return (np.asarray(level, dtype=np.float64) + 0.5) / count
