# SPDX-License-Identifier: Apache-2.0
"""X48: XGBoost tuning on 48 classification tables of OpenML, six hyperparameters.

1000 evaluated configurations a table (897 of one), by the authors of NAP (github.com/huawei-noah/HEBO,
NAP/HPO_data, MIT). Column for column: two shares in [0.05, 1], then four numbers drawn log-uniformly from
[1e-5, 1], [0.05, 10], [1e-5, 2] and [1e-5, 2]; here all six lie in [0, 1], the last four by their logarithm.

The response is 1 - error. The file calls its values "accs", but they are error rates: they fall as the third
column, the step size, grows from 1e-5, on nearly every table, and most of them are near their smallest value.

The responses are those of a surrogate of HPO-B's kind, fitted to all points of a table; initial evaluations
too, so that none lies above the surrogate's maximum, as measured ones do. It is computed when it is first
needed, with its extremes, and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffhpo.files.npz_archive import npz_archive
from diffhpo.hpob.surrogate import Surrogate
from diffhpo.hpob.task import Task
from diffhpo.suites.data_directory import data_file
from diffhpo.suites.fitted_surrogate import fitted_surrogate
from diffhpo.suites.initial_designs import SEEDS, draw_designs
from diffhpo.suites.splits import x48_tables
from diffhpo.suites.suite import TaskSuite

Array = NDArray[np.float64]

SPACE = "x48"
#: The file does not name its columns; their ranges are those of the first XGBoost space of HPOBench, in
#: alphabetical order.
HYPERPARAMETERS = (
    "colsample_bylevel",
    "colsample_bytree",
    "eta",
    "min_child_weight",
    "reg_alpha",
    "reg_lambda",
)
LOW = np.array([0.05, 0.05, 1e-5, 0.05, 1e-5, 1e-5])
HIGH = np.array([1.0, 1.0, 1.0, 10.0, 2.0, 2.0])
LOGARITHMIC = np.array([False, False, True, True, True, True])


def x48_suite(split: str = "test") -> TaskSuite:
    """The tables of one split, "train", "validation" or "test"; their surrogates need xgboost.

    Raises:
        InputError: on an unknown split.
        DataError: if the data is not there, or damaged.
    """
    file = data_file("hpobench-xgb", "hpobenchXGB.npz")
    makers = {f"d{table}": partial(_task, file, table) for table in x48_tables(split)}
    return TaskSuite({SPACE: makers}, SEEDS)


def unit_cube(x: Array) -> Array:
    """Configurations in the file's units, (n, 6), scaled to [0, 1].

    Example:
        >>> unit_cube(np.array([[0.525, 1.0, 1e-5, 10.0, 2.0, 1e-5]])).round(3).tolist()
        [[0.5, 1.0, 0.0, 1.0, 1.0, 0.0]]
    """
    logarithms = [np.log(np.where(LOGARITHMIC, values, 1.0)) for values in (x, LOW, HIGH)]
    x, low, high = (
        np.where(LOGARITHMIC, log, values) for log, values in zip(logarithms, (x, LOW, HIGH), strict=True)
    )
    return np.clip((x - low) / (high - low), 0.0, 1.0)


def _task(file: Path, table: int) -> Task:
    name = f"d{table}"
    with npz_archive(file, "the archive of 48 tables; fetch it again") as arrays:
        x, error = unit_cube(arrays[f"{name}_domain"]), arrays[f"{name}_accs"]
    model, low, high = fitted_surrogate(x, 1.0 - error, Path("x48", _digest(file)), f"{SPACE}-{name}")
    surrogate = Surrogate(model, x.shape[1])
    return Task(
        SPACE,
        name,
        x,
        surrogate(x),
        initial=draw_designs(SPACE, name, len(x)),
        surrogate=surrogate,
        response_range=(low, high),
        source=file,
    )


@cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
