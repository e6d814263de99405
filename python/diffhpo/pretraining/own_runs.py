# SPDX-License-Identifier: Apache-2.0
"""Tuning runs of this project's own (`bench/tasks`): eight learners on tables that may train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from diffhpo.errors import DataError
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.npz_archive import npz_archive
from diffhpo.parameter_roles import roles_of
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.split import may_train, refuse_held_out

SCHEMA = 1
#: A task whose responses take fewer values than this tells nothing about its space.
MIN_VALUES = 5


def load_own_runs(path: str | Path) -> list[RealTask]:
    """Every task of the archive.

    Args:
        path: `bench/tasks/evaluations.npz`. Its `index` is JSON: learner -> names and kinds of the columns,
            and for each run its learner, table and the responses' names; `x{i}` is (n, d) uint16 (65535 is
            1), `y{i}` (responses, n) float32.

    Returns:
        One task for each run and response, `own/LEARNER/TABLE/RESPONSE`. Runs whose response is the same
        nearly everywhere (under MIN_VALUES values) are left out.

    Raises:
        DataError: the file is missing, held out, of another schema, or has a table that must not train.
    """
    file = refuse_held_out(path)
    tasks = []
    with npz_archive(file, "an archive of tuning runs") as archive:
        index = json.loads(str(archive["index"]))
        check_schema(index["schema"], SCHEMA, file, writer=index.get(WRITER), error=DataError)
        for i, run in enumerate(index["runs"]):
            table = run["table"].split("~")[0]
            if not may_train(table):
                raise DataError(f"{file}: table {table} must not train")
            space = index["learners"][run["learner"]]
            x = (archive[f"x{i}"] / np.float32(65535.0)).astype(np.float32)
            for response, y in zip(run["responses"], archive[f"y{i}"], strict=True):
                if len(np.unique(y)) < MIN_VALUES:
                    continue
                name = f"own/{run['learner']}/{run['table']}/{response}"
                kinds, roles = np.array(space["kinds"]), np.array(roles_of(space["names"]))
                tasks.append(RealTask(name, x, y, kinds, roles))
    return tasks
