# SPDX-License-Identifier: Apache-2.0
"""Which configurations are evaluated: a scrambled Sobol design, then steps around the best ones."""

from __future__ import annotations

import zlib

import numpy as np
from bench.tasks.spaces import snap
from numpy.typing import NDArray

from diffhpo.hpob.suite.column import Column

N_BROAD = 128
N_LOCAL = 64
LOCAL_BATCH = 16
N_ELITES = 8
# Standard deviation of a local step, in units of the column's whole range.
LOCAL_STEP = 0.1
# A small space (k-nearest neighbours) may have no new point near the best ones.
MAX_ATTEMPTS = 1000


def task_seed(task: str) -> int:
    """A seed of the task's name alone, the same on every machine."""
    return zlib.crc32(task.encode())


def broad(task: str, columns: tuple[Column, ...]) -> NDArray[np.float64]:
    """(N_BROAD, d) scrambled Sobol points, snapped to configurations; another scramble for each task."""
    from scipy.stats import qmc

    sobol = qmc.Sobol(len(columns), scramble=True, seed=task_seed(task))
    u = sobol.random(N_BROAD)
    for j, column in enumerate(columns):
        if column.choices:  # every choice gets its equal share; `snap` alone would halve the outer ones
            u[:, j] = np.minimum(np.floor(u[:, j] * len(column.choices)), column.high) / column.high
    return snap(columns, u)


def local(
    task: str, columns: tuple[Column, ...], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """At most LOCAL_BATCH new points around the N_ELITES best of all evaluations so far.

    Args:
        task: Task name; with len(x) it seeds the draw.
        columns: The d columns of the space.
        x: (n, d) evaluated points.
        y: (n,) their responses, larger is better.

    Returns:
        (k, d) with k <= LOCAL_BATCH, none of which is in x.
    """
    rng = np.random.default_rng([task_seed(task), len(x)])
    d = len(columns)
    elite = x[np.argsort(-y, kind="stable")[:N_ELITES]]
    known = {tuple(row) for row in x}
    choices = np.array([len(column.choices) for column in columns])
    fresh: list[NDArray[np.float64]] = []
    for _ in range(MAX_ATTEMPTS):
        if len(fresh) == LOCAL_BATCH:
            break
        moved = rng.random(d) < 0.5
        point = elite[rng.integers(len(elite))] + np.where(moved, rng.normal(0.0, LOCAL_STEP, d), 0.0)
        for j in np.flatnonzero((choices > 0) & (rng.random(d) < 0.2)):
            point[j] = rng.integers(choices[j]) / (choices[j] - 1)
        point = snap(columns, point[None])[0]
        if tuple(point) not in known:
            known.add(tuple(point))
            fresh.append(point)
    return np.array(fresh).reshape(-1, d)
