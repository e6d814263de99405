# SPDX-License-Identifier: Apache-2.0
"""The suite's search space: XGBoost as in HPO-B's space 5971, without its `.na` columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffhpo.hpob.suite.column import Column, to_native

SPACE = "xgboost"

# Transforms are those of HPO-B's meta-dataset-descriptors for 5971.  Ranges follow it where the tables allow:
# these have 150 to 1500 rows where 5971's have thousands, and under its own ranges of min_child_weight (to
# 128), alpha (to 1024) and colsample_* (from 0) most random configurations grow no tree at all.  nrounds goes
# to 200 on a log scale instead of 5000 on a linear one, because an evaluation must cost about 0.1 s.
COLUMNS: tuple[Column, ...] = (
    Column("eta", 2.0**-10, 1.0, "log2", False),
    Column("max_depth", 1.0, 15.0, "linear", True),
    Column("min_child_weight", 2.0**-4, 2.0**5, "log2", False),
    Column("subsample", 0.1, 1.0, "linear", False),
    Column("colsample_bytree", 0.1, 1.0, "linear", False),
    Column("colsample_bylevel", 0.1, 1.0, "linear", False),
    Column("lambda", 2.0**-10, 2.0**10, "log2", False),
    Column("alpha", 2.0**-10, 2.0**5, "log2", False),
    Column("nrounds", 4.0, 200.0, "log2", True),
    Column("booster", 0.0, 1.0, "linear", True, ("gbtree", "gblinear")),
)
DIM = len(COLUMNS)
BOOSTER = DIM - 1
# Six decimals: the stored coordinate is exactly the one that was evaluated.
DECIMALS = 6


def snap(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points of the unit cube to the nearest configurations that exist (integers, booster), 6 decimals.

    Args:
        x: (n, DIM) in [0, 1].

    Returns:
        (n, DIM) float64 in [0, 1].
    """
    out = np.clip(x, 0.0, 1.0)
    for j, column in enumerate(COLUMNS):
        if column.integer:
            out[:, j] = column.encode(column.decode(out[:, j]))
    return np.round(out, DECIMALS)


def native(x: NDArray[np.float64]) -> list[dict[str, float | int | str]]:
    """Configurations in XGBoost's own units, one dict a row of x (n, DIM)."""
    return to_native(COLUMNS, x)
