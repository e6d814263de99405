# SPDX-License-Identifier: Apache-2.0
"""Those train tasks of the embedded suite whose tables may train."""

from __future__ import annotations

import numpy as np

from diffhpo.hpob import suite
from diffhpo.parameter_roles import roles_of
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.split import may_train
from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS, STEPPED


def load_suite_tasks() -> list[RealTask]:
    """Tasks of 10 columns and 500 XGBoost evaluations each; the response is accuracy.

    Raises:
        DataError: the package was installed without its data.

    Example:
        >>> len(load_suite_tasks())
        11
    """
    columns = suite.describe()
    kinds = [CATEGORICAL if c.choices else STEPPED if c.integer else CONTINUOUS for c in columns]
    roles = roles_of([column.name for column in columns])
    opened = suite.benchmark("train")
    tasks = []
    for name in opened.tasks(suite.SPACE):
        if may_train(name):
            task = opened.task(suite.SPACE, name)
            tasks.append(
                RealTask(
                    f"suite/xgboost/{name}",
                    task.x.astype(np.float32),
                    task.y.astype(np.float32),
                    np.array(kinds),
                    np.array(roles),
                )
            )
    return tasks
