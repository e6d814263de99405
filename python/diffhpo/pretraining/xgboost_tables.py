# SPDX-License-Identifier: Apache-2.0
"""Train part of the 48 tables of XGBoost evaluations that HEBO's authors published (MIT).

`hpobenchXGB.npz`: `d{i}_domain` (n, 6) in raw units, `d{i}_accs` (n,). In spite of its name the second is an
error rate: it falls where the learning rate rises from 1e-5, and medians are near 0.1. The columns are not
named in the file; their ranges are those of HPOBench's first XGBoost space in alphabetical order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffhpo.errors import DataError
from diffhpo.files.npz_archive import npz_archive
from diffhpo.parameter_roles import roles_of
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.split import refuse_held_out
from diffhpo.suites.splits import x48_tables
from diffhpo.suites.x48 import HYPERPARAMETERS, unit_cube

_ETA = 2


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
    roles = np.array(roles_of(HYPERPARAMETERS))
    tasks, signs = [], []
    with npz_archive(file, "the archive of 48 XGBoost tables") as archive:
        for i in x48_tables("train"):
            raw, error = archive[f"d{i}_domain"], archive[f"d{i}_accs"]
            signs.append(np.corrcoef(np.log(raw[:, _ETA]), error)[0, 1])
            tasks.append(
                RealTask(
                    f"xgboost-tables/xgboost/d{i}",
                    unit_cube(raw).astype(np.float32),
                    (1.0 - error).astype(np.float32),
                    np.zeros(len(roles), dtype=np.int64),
                    roles,
                )
            )
    # A learning rate of 1e-5 learns nothing: errors must fall with its logarithm on most data sets.
    if np.mean(np.array(signs) < 0) < 0.8:
        raise DataError(f"{file}: responses rise with the error of an idle learner; they are no error rates")
    return tasks
