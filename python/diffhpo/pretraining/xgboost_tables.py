# SPDX-License-Identifier: Apache-2.0
"""Train part of the 48 tables of XGBoost evaluations that HEBO's authors published (MIT).

`hpobenchXGB.npz`: `d{i}_domain` (n, 6) in raw units, `d{i}_accs` (n,). In spite of its name the second is an
error rate: it falls where the learning rate rises from 1e-5, and medians are near 0.1. The columns are not
named in the file; their ranges are those of HPOBench's first XGBoost space in alphabetical order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DataError
from diffhpo.parameter_roles import roles_of
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.split import refuse_held_out, xgboost_part

N_DATASETS = 48
#: (name, low, high, logarithmic) of the columns.
COLUMNS = (
    ("colsample_bylevel", 0.05, 1.0, False),
    ("colsample_bytree", 0.05, 1.0, False),
    ("eta", 1e-5, 1.0, True),
    ("min_child_weight", 0.05, 10.0, True),
    ("reg_alpha", 1e-5, 2.0, True),
    ("reg_lambda", 1e-5, 2.0, True),
)
_ETA = 2


def to_unit(raw: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, 6) raw units -> (n, 6) in [0, 1], four columns by their logarithm."""
    out = np.empty(raw.shape)
    for j, (_, low, high, logarithmic) in enumerate(COLUMNS):
        values, ends = raw[:, j], np.array([low, high])
        if logarithmic:
            values, ends = np.log(values), np.log(ends)
        out[:, j] = (values - ends[0]) / (ends[1] - ends[0])
    return np.clip(out, 0.0, 1.0).astype(np.float32)


def load_xgboost_tables(path: str | Path) -> list[RealTask]:
    """The 30 train tasks.

    Args:
        path: `hpobenchXGB.npz`.

    Returns:
        Tasks of 6 columns and about 1,000 rows; the response is 1 - error rate.

    Raises:
        DataError: the file is missing, held out, not as described, or its responses are no error rates.
    """
    file = refuse_held_out(path)
    tasks, signs = [], []
    try:
        with np.load(file, allow_pickle=False) as archive:
            for i in range(N_DATASETS):
                if xgboost_part(i) != "train":
                    continue
                raw, error = archive[f"d{i}_domain"], archive[f"d{i}_accs"]
                signs.append(np.corrcoef(np.log(raw[:, _ETA]), error)[0, 1])
                names = [column[0] for column in COLUMNS]
                tasks.append(
                    RealTask(
                        f"xgboost-tables/xgboost/d{i}",
                        to_unit(raw),
                        (1.0 - error).astype(np.float32),
                        np.zeros(len(COLUMNS), dtype=np.int64),
                        np.array(roles_of(names)),
                    )
                )
    except (OSError, KeyError, ValueError, IndexError) as fault:
        raise DataError(f"{file} is not the archive of 48 XGBoost tables: {fault}") from fault
    # A learning rate of 1e-5 learns nothing: errors must fall with its logarithm on most data sets.
    if np.mean(np.array(signs) < 0) < 0.8:
        raise DataError(f"{file}: responses rise with the error of an idle learner; they are no error rates")
    return tasks
