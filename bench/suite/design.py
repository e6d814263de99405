# SPDX-License-Identifier: Apache-2.0
"""Which configurations are evaluated: a scrambled Sobol design, then perturbations of the best ones."""

from __future__ import annotations

import zlib

import numpy as np
from bench.suite.space import BOOSTER, DIM, snap
from numpy.typing import NDArray

N_BROAD = 400
N_LOCAL = 100
LOCAL_BATCH = 25
N_ELITES = 10
# Standard deviation of a local step, in units of the column's whole range.
LOCAL_STEP = 0.1
# gblinear has four active parameters and gbtree nine, so it gets the smaller part of the design.
SHARE_GBLINEAR = 0.2


def task_seed(task: str) -> int:
    """A seed of the task's name alone, the same on every machine."""
    return zlib.crc32(task.encode())


def broad(task: str) -> NDArray[np.float64]:
    """(N_BROAD, DIM) scrambled Sobol points, snapped to configurations; another scramble for each task."""
    from scipy.stats import qmc

    u = qmc.Sobol(DIM, scramble=True, seed=task_seed(task)).random(512)[:N_BROAD]
    u[:, BOOSTER] = u[:, BOOSTER] < SHARE_GBLINEAR
    return snap(u)


def local(task: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The next LOCAL_BATCH points around the N_ELITES best of all evaluations so far.

    Args:
        task: Task name; with len(x) it seeds the draw.
        x: (n, DIM) evaluated points.
        y: (n,) their accuracies.

    Returns:
        (LOCAL_BATCH, DIM), none of which is in x.
    """
    rng = np.random.default_rng([task_seed(task), len(x)])
    elite = x[np.argsort(-y, kind="stable")[:N_ELITES]]
    known = {tuple(row) for row in x}
    fresh: list[NDArray[np.float64]] = []
    while len(fresh) < LOCAL_BATCH:
        parent = elite[rng.integers(len(elite))]
        # Half of the coordinates move, so that single effects show; the booster stays.
        moved = rng.random(DIM) < 0.5
        moved[BOOSTER] = False
        step = np.where(moved, rng.normal(0.0, LOCAL_STEP, DIM), 0.0)
        point = snap((parent + step)[None])[0]
        if tuple(point) not in known:
            known.add(tuple(point))
            fresh.append(point)
    return np.array(fresh)
