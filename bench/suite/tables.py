# SPDX-License-Identifier: Apache-2.0
"""Reads a classification table into numbers: categories one-hot or ordinal, missing values as NaN."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Larger tables are cut to this many rows (stratified draw): an evaluation must stay near 0.1 s on one core.
MAX_ROWS = 1500
# A table with many classes grows one tree a class and round, so it gets fewer rows.
MAX_ROWS_MANY_CLASSES = 700
MANY_CLASSES = 6
# Up to this many values a text column is one-hot coded, above it ordinal (order of the sorted values).
MAX_ONE_HOT = 12
SKLEARN = ("wine", "digits", "iris")


@dataclass(frozen=True)
class Table:
    """A table ready for XGBoost.

    Args:
        name: Its name, which is also the task's.
        x: (n, p) float32, NaN where a value is missing.
        y: (n,) int64 class labels 0..n_classes-1.
        n_classes: Number of classes.
        rows_in_source: Rows before the cut to MAX_ROWS.
        source: Address of the origin.
        licence: Licence of the origin.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    n_classes: int
    rows_in_source: int
    source: str
    licence: str


def _encode_column(values: NDArray[np.str_]) -> NDArray[np.float32]:
    """(n,) text -> (n, k) float32; numbers stay one column, empty cells and "?" become NaN."""
    missing = np.isin(values, ["", "?"])
    present = values[~missing]
    try:
        numbers = present.astype(np.float64)
    except ValueError:
        categories, code = np.unique(present, return_inverse=True)
        if 2 < len(categories) <= MAX_ONE_HOT:
            out = np.full((len(values), len(categories)), np.nan, dtype=np.float32)
            out[~missing] = np.eye(len(categories), dtype=np.float32)[code]
            return out
        numbers = code.astype(np.float64)
    column = np.full((len(values), 1), np.nan, dtype=np.float32)
    column[~missing, 0] = numbers
    return column


def _read_csv(path: Path, label_index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, skipinitialspace=True))[1:]
    cells = np.array([[cell.strip() for cell in row] for row in rows if row])
    label = np.unique(cells[:, label_index], return_inverse=True)[1].astype(np.int64)
    columns = [_encode_column(cells[:, j]) for j in range(cells.shape[1]) if j != label_index]
    return np.concatenate(columns, axis=1), label


def _cut(x: NDArray[np.float32], y: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A stratified draw of at most MAX_ROWS rows with a fixed seed; classes of under 6 rows are left out."""
    from sklearn.model_selection import train_test_split

    classes, count = np.unique(y, return_counts=True)
    keep = np.isin(y, classes[count >= 6])
    x, y = x[keep], y[keep]
    limit = MAX_ROWS_MANY_CLASSES if len(np.unique(y)) >= MANY_CLASSES else MAX_ROWS
    if len(y) > limit:
        x, _, y, _ = train_test_split(x, y, train_size=limit, stratify=y, random_state=0)
    return x, _by_frequency(y)


def _by_frequency(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels renumbered so that 0 is the most frequent: what a model that has learnt nothing predicts."""
    _, code, count = np.unique(y, return_inverse=True, return_counts=True)
    rank = np.empty(len(count), dtype=np.int64)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    return rank[code]


def load_table(name: str, directory: Path) -> Table:
    """Load one table by name.

    Args:
        name: One of SKLEARN, or a table named in `directory`'s MANIFEST.json.
        directory: Folder of the OpenML tables as CSV with MANIFEST.json.

    Returns:
        The table, cut to at most MAX_ROWS rows.
    """
    if name in SKLEARN:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{name}")()
        x, y = np.asarray(bunch.data, dtype=np.float32), np.asarray(bunch.target, dtype=np.int64)
        source, licence = f"scikit-learn: sklearn.datasets.load_{name}", "BSD-3-Clause"
    else:
        manifest = json.loads((directory / "MANIFEST.json").read_text(encoding="utf-8"))
        entry = next(item for item in manifest if item["name"] == name)
        x, y = _read_csv(directory / f"{name}.csv", int(entry["label_index"]))
        source, licence = ", ".join(entry["openml"]), "CC-BY-4.0"
    rows = len(y)
    x, y = _cut(x, y)
    return Table(name, x, y, int(y.max()) + 1, rows, source, licence)
