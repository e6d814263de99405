# SPDX-License-Identifier: Apache-2.0
"""Order of a task's rows and its initial designs, and deterministic gzipped JSON files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from bench.suite.design import N_BROAD, task_seed
from numpy.typing import NDArray

SEEDS = tuple(f"test{i}" for i in range(10))
N_INITIAL = 5
# Initial points come from the broad design, below this quantile of its accuracies: no run starts at the top.
INITIAL_QUANTILE = 0.95


def shuffle(task: str, n: int) -> NDArray[np.intp]:
    """Order in which a task's n evaluations are shipped: the row number tells nothing about the value."""
    return np.random.default_rng([task_seed(task), 1]).permutation(n)


def initial_designs(task: str, y: NDArray[np.float64], order: NDArray[np.intp]) -> dict[str, list[int]]:
    """Seed -> N_INITIAL row numbers of the shipped order; no row serves two seeds.

    Args:
        task: Task name, which seeds the draw.
        y: (n,) accuracies in order of computation: the first N_BROAD are the broad design.
        order: (n,) result of `shuffle`.
    """
    row = np.argsort(order)
    broad = y[:N_BROAD]
    eligible = np.flatnonzero(broad < np.quantile(broad, INITIAL_QUANTILE))
    drawn = np.random.default_rng([task_seed(task), 2]).choice(
        eligible, (len(SEEDS), N_INITIAL), replace=False
    )
    return {seed: row[points].tolist() for seed, points in zip(SEEDS, drawn, strict=True)}


def write_gzip_json(path: Path, value: Any) -> None:
    """Compact JSON, gzipped without time or name, so that the same value gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
