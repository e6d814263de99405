# SPDX-License-Identifier: Apache-2.0
"""A surrogate of HPO-B's kind for a table that has none, computed once and kept in the user's cache."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DataError, DependencyError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.hpob.json_file import read_json
from diffhpo.hpob.surrogate import Surrogate
from diffhpo.suites.data_directory import computed_directory
from diffhpo.suites.extremes import cells, highest

Array = NDArray[np.float64]

ETA = 0.1
ROUNDS = 100
#: HPO-B's depth; exact splits were XGBoost's default when HPO-B was made.
PARAMETERS = {
    "max_depth": 6,
    "eta": ETA,
    "objective": "reg:squarederror",
    "tree_method": "exact",
    "nthread": 1,
    "seed": 0,
}
#: Size of the Sobol design, as a power of two, that the search for the extremes starts from.
SOBOL_LOG2 = 14


def fitted_surrogate(x: Array, y: Array, folder: Path, name: str) -> tuple[Path, float, float]:
    """The surrogate of a table, from the cache or computed now.

    Args:
        x: (n, d) configurations in [0, 1].
        y: (n,) responses, larger is better.
        folder: inside the cache; another one for other data.
        name: of the surrogate's file.

    Returns:
        Path of the model, and the lowest and highest response that a search over its cells found.

    Raises:
        DataError: if the cache cannot be written.
        DependencyError: if xgboost is not installed.
    """
    directory = computed_directory(*folder.parts)
    model_file = directory / f"surrogate-{name}.json.gz"
    range_file = directory / f"range-{name}.json"
    if not range_file.is_file():
        model = _fit(x, y)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            write_atomically(model_file, gzip.compress(json.dumps(model).encode(), mtime=0))
            low, high = _extremes(Surrogate(model_file, x.shape[1]), model, x)
            write_atomically(range_file, json.dumps({"y_min": low, "y_max": high}).encode())
        except OSError as error:
            raise DataError(f"{directory} cannot be written: {reason_and_remedy(error)}") from error
    stored = read_json(range_file)
    try:
        low, high = float(stored["y_min"]), float(stored["y_max"])
        if not low <= high:
            raise ValueError
    except (KeyError, OverflowError, TypeError, ValueError):
        raise DataError(f"{range_file} is damaged; delete it, and it is computed again") from None
    return model_file, low, high


def _fit(x: Array, y: Array) -> dict[str, Any]:
    try:
        import xgboost
    except ImportError as error:
        raise DependencyError('surrogates need xgboost: pip install "diffhpo[bench]"') from error
    booster = xgboost.train(PARAMETERS, xgboost.DMatrix(x, label=y), ROUNDS)
    return json.loads(bytes(booster.save_raw("json")))


def _extremes(surrogate: Surrogate, model: dict[str, Any], x: Array) -> tuple[float, float]:
    grid = cells(model, x.shape[1])
    low, _ = highest(lambda points: -surrogate(points), grid, x, 0, sobol_log2=SOBOL_LOG2)
    high, _ = highest(surrogate, grid, x, 0, sobol_log2=SOBOL_LOG2)
    return -low, high
