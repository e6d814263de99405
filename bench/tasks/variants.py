# SPDX-License-Identifier: Apache-2.0
"""More tables out of one: a part of its rows and columns, its classes merged into two groups.

A learner's best configuration depends on how many rows and columns there are and on how hard the classes are
to tell apart, so a variant is a tuning problem of its own, although a related one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bench.suite.tables import Table
from bench.tasks.design import task_seed
from numpy.typing import NDArray

Labels = NDArray[np.int64]
MARK = "~"
# Share of the rows and of the columns that a variant keeps, drawn between these.
KEEP_ROWS = (0.4, 0.9)
KEEP_COLUMNS = (0.4, 1.0)
MIN_ROWS = 120
MIN_COLUMNS = 2
# A class must have rows in every fold.
MIN_CLASS = 12


def variant(table: Table, number: int) -> Table:
    """Variant 0 is the table itself; others are drawn from the table's name and the number alone.

    Args:
        table: The whole table.
        number: 0 or more.

    Returns:
        The table under the name `NAME~NUMBER` (`NAME` for 0).
    """
    if number == 0:
        return table
    name = f"{table.name}{MARK}{number}"
    rng = np.random.default_rng(task_seed(name))
    x, y = table.x, table.y
    if table.n_classes > 2:
        y = _two_groups(y, table.n_classes, rng)
    n_rows = max(min(MIN_ROWS, len(y)), int(rng.uniform(*KEEP_ROWS) * len(y)))
    n_columns = max(min(MIN_COLUMNS, x.shape[1]), round(rng.uniform(*KEEP_COLUMNS) * x.shape[1]))
    columns = np.sort(rng.choice(x.shape[1], n_columns, replace=False))
    rows = np.sort(rng.choice(len(y), n_rows, replace=False))
    if np.bincount(y[rows], minlength=2).min() < MIN_CLASS:
        rows = np.arange(len(y))
    return replace(table, name=name, x=x[rows][:, columns], y=y[rows], n_classes=2)


def _two_groups(y: Labels, n_classes: int, rng: np.random.Generator) -> Labels:
    """(n,) labels 0 and 1: a random half of the classes against the others, each with MIN_CLASS rows."""
    for _ in range(100):
        chosen = rng.choice(n_classes, rng.integers(1, n_classes // 2 + 1), replace=False)
        merged = np.isin(y, chosen).astype(np.int64)
        if 2 * MIN_CLASS <= merged.sum() <= len(y) - 2 * MIN_CLASS:
            return merged
    return (y == 0).astype(np.int64)
