# SPDX-License-Identifier: Apache-2.0
"""Columns whose first trials spread over decades on a linear axis: they are searched on a logarithmic one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from diffhpo.history import Array, History

#: Trials that tell the axes, the first of a run: whoever drew them knew the parameters, and later ones
#: cluster where the run found good values.
FIRST_TRIALS = 5
#: A column needs so many different values between its bounds.
FEWEST_VALUES = 3
#: Natural logarithms of the ratio of the largest to the least value, on which a column may spread: 2 is
#: nearly a linear axis, 13.8 six powers of ten.
LOG_RATIOS = (2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 13.8)
#: Least log of the evidence for decades over that for a linear axis. Five uniform values reach it in 0.9% of
#: the draws; five that are uniform in the logarithm in 62% of them over 2 powers of ten, in 97% over four.
EVIDENCE = 2.0


def log_ratio(values: Array) -> float:
    """On how many decades (n,) values in [0, 1] spread: log of the ratio of the ends, 0 for a linear axis.

    With R the ratio, values that are uniform in their logarithm stand at v = (R^u - 1) / (R - 1) with u
    uniform, so they have the density p(v) = (R - 1) / (log R (1 + v (R - 1))). Its product over the values,
    averaged over `LOG_RATIOS`, is the evidence against p(v) = 1. Values at the bounds tell nothing: tables
    put there what was absent, and optimizers what they clip.

    Example:
        >>> log_ratio(np.array([0.0002, 0.9, 0.01, 0.0, 0.03]))
        8.0
        >>> log_ratio(np.array([0.1, 0.9, 0.3, 0.5, 0.7]))
        0.0
    """
    inside = np.unique(values[(values > 0) & (values < 1)])
    if len(inside) < FEWEST_VALUES:
        return 0.0
    ratios = np.array(LOG_RATIOS)
    span = np.expm1(ratios)
    density = np.log(span / ratios) - np.log1p(inside[:, None] * span)
    each = density.sum(axis=0)
    evidence = float(np.logaddexp.reduce(each)) - math.log(len(ratios))
    return float(ratios[each.argmax()]) if evidence > EVIDENCE else 0.0


class LogAxes:
    """The map between a history's columns and the axes on which they are searched.

    HPO-B has the regularisation of several learners on a linear axis from 0.001 to 1,000: half of their
    effect lies within a thousandth of it, where neither a uniform point nor a step of a search ever comes.
    The values of the first trials tell such a column.

    Args:
        history: the run so far; its first trials are read.

    Example:
        >>> seen = History([[0.3, 1e-4], [0.1, 0.7], [0.9, 1e-3], [0.5, 2e-5], [0.7, 0.04]], range(5))
        >>> axes = LogAxes(seen)
        >>> axes.any, axes.inward(seen.x).round(2)[:, 1].tolist()
        (True, [0.12, 0.96, 0.31, 0.04, 0.68])
    """

    def __init__(self, history: History) -> None:
        first = history.x[:FIRST_TRIALS]
        self._ratios = np.array([log_ratio(column) for column in first.T])

    @property
    def any(self) -> bool:
        """Whether a column is searched on another axis than its own."""
        return bool(self._ratios.any())

    def inward(self, x: Array) -> Array:
        """(n, d) configurations -> their places on the axes of the search, both in [0, 1]."""
        return self._mapped(x, lambda v, ratio: np.log1p(v * np.expm1(ratio)) / ratio)

    def outward(self, u: Array) -> Array:
        """(n, d) places on the axes of the search -> the configurations, the inverse of `inward`."""
        return self._mapped(u, lambda u, ratio: np.expm1(u * ratio) / np.expm1(ratio))

    def of(self, history: History) -> History:
        """The same trials on the axes of the search."""
        return History(
            self.inward(history.x),
            history.y,
            failed=self.inward(history.failed),
            pending=self.inward(history.pending),
        )

    def _mapped(self, x: Array, to: Callable[[Array, float], Array]) -> Array:
        out = np.array(x)
        for column in np.flatnonzero(self._ratios):
            out[:, column] = np.clip(to(x[:, column], float(self._ratios[column])), 0.0, 1.0)
        return out
