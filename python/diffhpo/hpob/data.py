# SPDX-License-Identifier: Apache-2.0
"""HPO-B's directory format: every file read once, on demand."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from diffhpo.errors import DataError
from diffhpo.hpob.json_file import find_file, read_json
from diffhpo.hpob.task import Task, as_numbers

__all__ = ["SPLITS", "Benchmark", "Task"]

#: Splits of HPO-B-v3 and the files that hold them.
SPLITS = {
    "test": "meta-test-dataset.json",
    "validation": "meta-validation-dataset.json",
    "train": "meta-train-dataset.json",
    "train-augmented": "meta-train-dataset-augmented.json",
}


def _unknown(kind: str, name: str, known: Iterable[str], file: Path) -> DataError:
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=5, cutoff=0.4) or names[:5]
    return DataError(f"{kind} {name!r} is not in {file}; the nearest of its {len(names)}: {', '.join(near)}")


class Benchmark:
    """A benchmark in HPO-B's directory format; every file also as `.json.gz`.

    ::

        ROOT/hpob-data/meta-test-dataset.json      {space: {task: {"X": [[...]], "y": [[...]]}}}
        ROOT/hpob-data/bo-initializations.json     {space: {task: {seed: [row, ...]}}}
        ROOT/saved-surrogates/summary-stats.json   {"surrogate-SPACE-TASK": {"y_min": ..., "y_max": ...}}
        ROOT/saved-surrogates/surrogate-SPACE-TASK.json

    Each file is read once, when it is first needed. Source: Pineda-Arango et al. (2021), "HPO-B: A
    Large-Scale Reproducible Benchmark for Black-Box HPO based on OpenML", arXiv 2106.06257.

    Args:
        root: directory that holds `hpob-data`, or that directory itself.
        surrogates: directory of the surrogates; by default `saved-surrogates` in `root` or beside it.
        split: "test", "validation", "train" or "train-augmented" of HPO-B-v3. HPO-B has initial designs
            for "test" alone.

    Raises:
        DataError: if a directory or file is missing; later, on first use, if a file is damaged.

    Example:
        >>> from diffhpo.hpob import suite
        >>> benchmark = Benchmark(suite.root())
        >>> space = benchmark.spaces()[0]
        >>> task = benchmark.task(space, benchmark.tasks(space)[0])
        >>> len(task.initial("test0"))
        5
    """

    def __init__(
        self, root: str | Path, surrogates: str | Path | None = None, *, split: str = "test"
    ) -> None:
        self.root = Path(root).expanduser()
        if split not in SPLITS:
            raise DataError(f"split is {split!r}; accepted: {', '.join(SPLITS)}")
        if not self.root.is_dir():
            raise DataError(f"{self.root} is no directory; get the data with `diffhpo data fetch`")
        data = self.root / "hpob-data" if (self.root / "hpob-data").is_dir() else self.root
        self._table_file = self._require(data / SPLITS[split])
        self._initial_file = find_file(data / "bo-initializations.json")
        if self._initial_file is None and split == "test":
            self._require(data / "bo-initializations.json")
        if surrogates is None:
            beside = [self.root / "saved-surrogates", data.parent / "saved-surrogates"]
            self.surrogates = next((path for path in beside if path.is_dir()), beside[0])
        else:
            self.surrogates = Path(surrogates).expanduser()
            if not self.surrogates.is_dir():
                raise DataError(f"surrogates is {self.surrogates}, which is no directory")
        self._tables: dict[str, dict[str, Any]] | None = None
        self._initial: dict[str, Any] | None = None
        self._ranges: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Benchmark({str(self.root)!r}, surrogates={str(self.surrogates)!r})"

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the files itself: the parsed tables may be hundreds of megabytes.
        return self.__dict__ | {"_tables": None, "_initial": None, "_ranges": None}

    def _require(self, path: Path) -> Path:
        found = find_file(path)
        if found is None:
            raise DataError(
                f"{path} is missing (and no {path.name}.gz either); get the data with `diffhpo data fetch`, "
                f"or give the directory that holds hpob-data/{path.name}"
            )
        return found

    def _spaces(self) -> dict[str, dict[str, Any]]:
        if self._tables is None:
            self._tables = read_json(self._table_file, object_hook=_pack_table)
        return self._tables

    def _tasks(self, space: str) -> dict[str, Any]:
        tables = self._spaces()
        if space not in tables:
            raise _unknown("space", space, tables, self._table_file)
        if not isinstance(tables[space], dict):
            raise DataError(f"space {space!r} in {self._table_file} is not an object of tasks")
        return tables[space]

    def _table(self, space: str, task: str) -> tuple[Any, Any]:
        tasks = self._tasks(space)
        if task not in tasks:
            raise _unknown(f"task of space {space}:", task, tasks, self._table_file)
        table = tasks[task]
        if not isinstance(table, tuple):
            raise DataError(f"task {task} of space {space} in {self._table_file} lacks X or y")
        return table

    def spaces(self) -> list[str]:
        """Names of the search spaces, in the file's order."""
        return list(self._spaces())

    def tasks(self, space: str) -> list[str]:
        """Names of a space's tasks, in the file's order.

        Raises:
            DataError: if the space is unknown; the message has the nearest names.
        """
        return list(self._tasks(space))

    def seeds(self, space: str, task: str) -> list[str]:
        """Names of a task's initial designs; HPO-B's are test0 to test4.

        Raises:
            DataError: if the space or task is unknown.
        """
        self._table(space, task)
        return list(self._initial_designs(space, task))

    def _initial_designs(self, space: str, task: str) -> dict[str, Any]:
        if self._initial_file is None:
            return {}
        if self._initial is None:
            self._initial = read_json(self._initial_file)
        try:
            designs = self._initial.get(space, {}).get(task, {})
        except AttributeError:
            designs = None
        if not isinstance(designs, dict):
            raise DataError(f"{self._initial_file}: space {space}, task {task} is no object of seeds")
        return designs

    def task(self, space: str, task: str) -> Task:
        """One task; its surrogate is read when it is first called.

        Raises:
            DataError: if the space or task is unknown, or its table is damaged.
        """
        x, y = self._table(space, task)
        return Task(
            space,
            task,
            x,
            y,
            initial=self._initial_designs(space, task),
            surrogate=find_file(self.surrogates / f"surrogate-{space}-{task}.json"),
            response_range=self._response_range(space, task),
            source=self._table_file,
        )

    def _response_range(self, space: str, task: str) -> tuple[float, float] | None:
        if self._ranges is None:
            file = find_file(self.surrogates / "summary-stats.json")
            self._ranges = {} if file is None else read_json(file)
        entry = self._ranges.get(f"surrogate-{space}-{task}")
        if entry is None:
            return None
        try:
            low, high = float(entry["y_min"]), float(entry["y_max"])
        except (KeyError, OverflowError, TypeError, ValueError):
            low, high = np.nan, np.nan
        if not (np.isfinite([low, high]).all() and low <= high):
            raise DataError(
                f"{self.surrogates}/summary-stats.json: surrogate-{space}-{task} is {entry}; "
                "finite numbers y_min <= y_max are needed"
            )
        return low, high


def _pack_table(value: dict[str, Any]) -> Any:
    """Turn {"X": ..., "y": ...} into a pair of arrays while parsing: lists take ten times the memory."""
    if "X" not in value or "y" not in value:
        return value
    x, y = value["X"], value["y"]
    try:
        return as_numbers(x), as_numbers(y)
    except (OverflowError, TypeError, ValueError):
        return x, y  # `Task` names the fault, and the other tasks stay usable
