# SPDX-License-Identifier: Apache-2.0
"""Functions made of real tasks: a task itself, a part of its space, or two tasks together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.surrogate_pair import SurrogatePair
from diffhpo.prior.search import MOST_AT_BOUNDS, ON_FACES
from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS

Points = NDArray[np.float32]
#: A window of a continuous column keeps at least this part of it.
SMALLEST_WINDOW = 0.3


@dataclass(frozen=True)
class TaskView:
    """A function on [0, 1]^d that answers as real tasks do.

    Args:
        origin: Names of the tasks and what was done to them.
        evaluate: (k, d) -> (k, 2) by the two surrogates.
        kinds: (d,) of `TaskBatch`.
        roles: (d,).
        levels: d ascending arrays: the values that exist; empty for continuous columns.
        start: (m, d) points from tasks' tables, best first; may be empty.
    """

    origin: str
    evaluate: Callable[[Points], NDArray[np.float32]]
    kinds: NDArray[np.int64]
    roles: NDArray[np.int64]
    levels: tuple[Points, ...]
    start: Points

    def snap(self, x: Points) -> Points:
        """(k, d) points on the nearest values that exist."""
        x = np.clip(x, 0.0, 1.0).astype(np.float32)
        for j, values in enumerate(self.levels):
            if len(values):
                edges = (values[1:] + values[:-1]) / 2
                x[:, j] = values[np.searchsorted(edges, x[:, j])]
        return x

    def uniform(self, rng: np.random.Generator, count: int) -> Points:
        """(count, d) points, uniform over what exists."""
        x = rng.random((count, len(self.kinds)), dtype=np.float32)
        for j, values in enumerate(self.levels):
            if len(values):
                x[:, j] = rng.choice(values, count)
        return x

    def spread(self, rng: np.random.Generator, count: int) -> Points:
        """(count, d) points as `diffhpo.prior.search.spread_points` has them: uniform, and on faces."""
        x = self.uniform(rng, count)
        share = MOST_AT_BOUNDS * rng.random((count, 1)) * (rng.random((count, 1)) < ON_FACES)
        pinned = (rng.random(x.shape) < share) & (self.kinds != CATEGORICAL)
        return self.snap(np.where(pinned, np.round(x), x))


def _levels(task: RealTask) -> tuple[Points, ...]:
    none = np.empty(0, dtype=np.float32)
    return tuple(none if kind == CONTINUOUS else task.levels(j) for j, kind in enumerate(task.kinds))


def _best_first(task: RealTask) -> Points:
    return task.x[np.argsort(-task.y, kind="stable")[:32]]


def plain(pair: SurrogatePair) -> TaskView:
    """The task itself."""
    task = pair.task
    return TaskView(f"{task.name}", pair, task.kinds, task.roles, _levels(task), _best_first(task))


def narrowed(pair: SurrogatePair, rng: np.random.Generator) -> TaskView:
    """A part of the task's space: some columns fixed, others' ranges cut, as another user might choose.

    Fixed columns take the values of one row, in half of the cases of a good one. At least one column stays.
    """
    task = pair.task
    d = task.dim
    n_fixed = int(d * rng.random() ** 1.5) if rng.random() < 0.7 else 0
    free = np.sort(rng.permutation(d)[n_fixed:])
    ranked = np.argsort(-task.y, kind="stable")
    row = task.x[ranked[rng.integers(max(len(task) // 10, 1) if rng.random() < 0.5 else len(task))]]
    low, width = np.zeros(len(free), dtype=np.float32), np.ones(len(free), dtype=np.float32)
    for k, j in enumerate(free):
        if task.kinds[j] == CONTINUOUS and rng.random() < 0.5:
            width[k] = rng.uniform(SMALLEST_WINDOW, 1.0)
            low[k] = rng.uniform(0.0, 1.0 - width[k])

    def evaluate(x: Points) -> NDArray[np.float32]:
        full = np.repeat(row[None], len(x), axis=0)
        full[:, free] = low + width * x
        return pair(full)

    levels = _levels(task)
    start = (_best_first(task)[:, free] - low) / width
    start = start[np.all((start >= 0.0) & (start <= 1.0), axis=1)]
    return TaskView(
        f"{task.name} narrowed to {len(free)} columns",
        evaluate,
        task.kinds[free],
        task.roles[free],
        tuple(levels[j] for j in free),
        start.astype(np.float32),
    )


def combined(pair: SurrogatePair, other: SurrogatePair, rng: np.random.Generator) -> TaskView:
    """Weighted sum, or product, of two tasks of equal dimension, on the first one's columns.

    Categorical columns of the second must have the first one's number of levels, or the pair is of no use:
    see `compatible`. Roles that differ are withheld.
    """
    a, b = pair.task, other.task
    weight = np.float32(rng.uniform(0.2, 0.8))
    product = rng.random() < 0.3
    if product:
        # Shares of the range between the 5% and 95% quantile, kept positive: larger is better in both.
        low_a, high_a = np.quantile(pair.y, [0.05, 0.95])
        low_b, high_b = np.quantile(other.y, [0.05, 0.95])

    def evaluate(x: Points) -> NDArray[np.float32]:
        first, second = pair(x), other(x)
        if not product:
            return weight * first + (1 - weight) * second
        p = np.maximum((first - low_a) / max(high_a - low_a, 1e-6), 0.0)
        q = np.maximum((second - low_b) / max(high_b - low_b, 1e-6), 0.0)
        return ((0.2 + p) * (0.2 + q)).astype(np.float32)

    return TaskView(
        f"{a.name} {'times' if product else 'plus'} {b.name}",
        evaluate,
        a.kinds,
        np.where(a.roles == b.roles, a.roles, 0),
        _levels(a),
        np.concatenate([_best_first(a)[::2], _best_first(b)[::2]]),
    )


def compatible(a: RealTask, b: RealTask) -> bool:
    """Whether `combined` can join two tasks: as many columns, and the same levels of categorical ones."""
    if a.dim != b.dim:
        return False
    return all(
        (i == CATEGORICAL) == (j == CATEGORICAL)
        and (i != CATEGORICAL or len(a.levels(k)) == len(b.levels(k)))
        for k, (i, j) in enumerate(zip(a.kinds, b.kinds, strict=True))
    )
