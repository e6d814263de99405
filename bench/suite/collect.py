# SPDX-License-Identifier: Apache-2.0
"""All evaluations of one task, through the journal."""

from __future__ import annotations

import time

import numpy as np
from bench.suite.design import N_BROAD, N_LOCAL, broad, local
from bench.suite.evaluate import Evaluator
from bench.suite.journal import Journal
from bench.suite.space import native
from bench.suite.tables import Table
from numpy.typing import NDArray
from tqdm import tqdm


def collect(table: Table, journal: Journal) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate a task's whole design; what the journal has is not computed again.

    Args:
        table: The task's table.
        journal: Finished evaluations, extended here.

    Returns:
        x (N_BROAD + N_LOCAL, DIM) in [0, 1], the broad design first, and y (N_BROAD + N_LOCAL,) accuracies.
    """
    evaluator = Evaluator(table)

    def value(point: NDArray[np.float64]) -> float:
        known = journal.get(table.name, point.tolist())
        if known is None:
            start = time.perf_counter()
            known = evaluator(native(point[None])[0])
            journal.add(table.name, point.tolist(), known, time.perf_counter() - start)
        bar.update()
        return known

    with tqdm(total=N_BROAD + N_LOCAL, desc=table.name, mininterval=1.0) as bar:
        x = broad(table.name)
        y = np.array([value(point) for point in x])
        while len(x) < N_BROAD + N_LOCAL:
            batch = local(table.name, x, y)
            x, y = np.concatenate([x, batch]), np.append(y, [value(point) for point in batch])
    return x, y
