# SPDX-License-Identifier: Apache-2.0
"""Tasks of HPO-B's kind from evaluations of our own: a table with flags, and a surrogate fitted to it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench.flagged_columns.learners import SPACES, FlaggedSpace, predicted
from bench.suite.tables import load_table
from numpy.typing import NDArray

from diffhpo.hpob.task import Task
from diffhpo.suites.fitted_surrogate import fitted_surrogate
from diffhpo.suites.initial_designs import SEEDS, draw_designs
from diffhpo.suites.suite import TaskSuite

#: Tables on which settings may be chosen; the pretrained weights have seen none of them.
TABLES = ("cmc", "sonar", "diabetes")
CONFIGURATIONS = 600
MOST_ROWS = 500
FOLDS = 3
#: What HPO-B puts in the place of an absent value before it takes logarithms.
_TINY = 1e-4

Array = NDArray[np.float64]


def encoded(configurations: Sequence[Mapping[str, Any]], space: FlaggedSpace) -> tuple[Array, list[str]]:
    """Configurations as HPO-B has them: (n, d) in [0, 1], and the columns' names.

    A number that is absent stands at 0 before logarithms and scaling, with a flag NAME.na beside it; a
    choice has a column of 0 and 1 for each value but the first.

    Example:
        >>> x, names = encoded([{"a": 1.0, "k": "u"}, {"a": None, "k": "v"}, {"a": 3.0, "k": "u"}],
        ...     FlaggedSpace(dict, ("a",), {"k": ("v",)}, frozenset()))
        >>> names, x.round(2).tolist()
        (['a', 'a.na', 'k.ohe._v'], [[0.33, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    """
    columns, names = [], []
    for name in space.numbers:
        absent = np.array([c[name] is None for c in configurations])
        values = np.array([0.0 if c[name] is None else float(c[name]) for c in configurations])
        if name in space.logarithmic:
            values = np.log(np.where(values <= 0, _TINY, values))
        columns.append((values - values.min()) / max(np.ptp(values), 1e-12))
        names.append(name)
        if absent.any():
            columns.append(absent.astype(np.float64))
            names.append(f"{name}.na")
    for name, choices in space.choices.items():
        for choice in choices:
            columns.append(np.array([float(c[name] == choice) for c in configurations]))
            names.append(f"{name}.ohe._{choice}")
    return np.stack(columns, axis=1), names


def evaluated(space: str, table: str, tables: Path) -> tuple[Array, Array, list[str]]:
    """Configurations (n, d), their cross-validated accuracies (n,), and the columns' names."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    data = load_table(table, tables)
    x, y = np.asarray(data.x, dtype=np.float64), np.asarray(data.y)
    if len(y) > MOST_ROWS:
        x, _, y, _ = train_test_split(x, y, train_size=MOST_ROWS, stratify=y, random_state=0)
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    rng = np.random.default_rng([len(space), sum(map(ord, space + table))])
    drawn = [SPACES[space].draw(rng) for _ in range(CONFIGURATIONS)]
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # learners that stop before they converge
        accuracies = [
            np.mean(np.concatenate([predicted(space, c, x[i], y[i], x[j]) == y[j] for i, j in folds]))
            for c in drawn
        ]
    columns, names = encoded(drawn, SPACES[space])
    return columns, np.array(accuracies), names


def column_names(space: str, out: Path) -> list[str]:
    """Names of a space's columns, once one of its tasks was made."""
    with np.load(out / f"{space}-{TABLES[0]}.npz") as kept:
        return [str(name) for name in kept["names"]]


def _task(space: str, table: str, tables: Path, out: Path) -> Task:
    path = out / f"{space}-{table}.npz"
    if not path.exists():
        x, y, names = evaluated(space, table, tables)
        np.savez(path, x=x, y=y, names=np.array(names))
    with np.load(path) as kept:
        x, y = kept["x"], kept["y"]
    model, low, high = fitted_surrogate(x, y, Path("flagged-columns"), f"{space}-{table}")
    designs = draw_designs(space, table, len(y))
    return Task(space, table, x, y, initial=designs, surrogate=model, response_range=(low, high))


def open_flagged(tables: Path, out: Path) -> TaskSuite:
    """The 18 tasks; evaluations are made once, in minutes, and kept in `out`.

    Args:
        tables: the OpenML tables as CSV with MANIFEST.json.
        out: a directory.
    """
    out.mkdir(parents=True, exist_ok=True)
    return TaskSuite(
        {space: {table: partial(_task, space, table, tables, out) for table in TABLES} for space in SPACES},
        SEEDS,
    )
