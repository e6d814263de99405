# SPDX-License-Identifier: Apache-2.0
"""What a worker process does: one run of the grid after another, on tasks that it loads once."""

from __future__ import annotations

import hashlib
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from diffhpo.process.end_with_parent import end_with_parent
from diffhpo.study.grid import Cell, Grid, Protocol, method_seed

if TYPE_CHECKING:
    from diffhpo.hpob.protocol import Run
    from diffhpo.hpob.task import Task
    from diffhpo.suites import Suite

#: Thread counts of the numerical libraries, read when they are loaded: a worker owns one core.
SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}

#: Distinct warnings that a record keeps.
_KEPT_WARNINGS = 20


class Worker:
    """Runs cells of one grid.

    Args:
        grid: gives suite, protocol and number of trials.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._suite: Suite | None = None
        self._tasks: dict[tuple[str, str], tuple[Task, str]] = {}

    def _task(self, space: str, name: str) -> tuple[Task, str]:
        """A task and the digest of its data."""
        if (space, name) not in self._tasks:
            if self._suite is None:
                from diffhpo.suites import open_suite

                self._suite = open_suite(self._grid.suite, self._grid.split)
            task = self._suite.task(space, name)
            self._tasks[space, name] = task, data_digest(task, self._grid.protocol)
        return self._tasks[space, name]

    def run(self, cell: Cell) -> dict[str, Any]:
        """The journal's record of one run; a method that raises gives a record with `error`."""
        record: dict[str, Any] = {
            **cell._asdict(),
            "protocol": self._grid.protocol,
            "corrected": self._grid.corrected,
            "trials": self._grid.trials,
            "batch": self._grid.batch,
            "method_seed": method_seed(cell.space, cell.task, cell.seed),
            "error": None,
        }
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                record.update(self._evaluate(cell, record["method_seed"]))
            except Exception as error:  # whatever a method raises is its result; the other runs go on
                record["error"] = describe_error(error)
        record["seconds"] = time.perf_counter() - start
        counts = Counter(f"{warning.category.__name__}: {warning.message}" for warning in caught)
        record["warnings"] = dict(counts.most_common(_KEPT_WARNINGS))
        return record

    def _evaluate(self, cell: Cell, seed: int) -> dict[str, Any]:
        from diffhpo.hpob import protocol
        from diffhpo.study import methods
        from diffhpo.suites.column_names import column_names

        task, digest = self._task(cell.space, cell.task)
        method = methods.create(cell.method, seed, names=column_names(cell.space, task.dim))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        if self._grid.batch > 1:
            from diffhpo.hpob.batches import BatchMethod, evaluate_batches

            run = evaluate_batches(
                cast(BatchMethod, method), task, cell.seed, self._grid.trials, self._grid.batch
            )
            return _curve(run, digest)
        evaluate = {
            "continuous": protocol.evaluate_continuous,
            "discrete": protocol.evaluate_discrete,
        }[self._grid.protocol]
        run = evaluate(method, task, cell.seed, self._grid.trials, corrected=self._grid.corrected)
        return _curve(run, digest)


def _curve(run: Run, digest: str) -> dict[str, Any]:
    """What the journal keeps of a run."""
    return {
        "incumbents": [float(value) for value in run.incumbents],
        "suggest_seconds": [float(seconds) for seconds in run.suggest_seconds],
        "data": digest,
    }


def death_record(grid: Grid, cell: Cell, cause: str) -> dict[str, Any]:
    """The journal's record of a run whose worker process ended under it."""
    return {
        **cell._asdict(),
        "protocol": grid.protocol,
        "corrected": grid.corrected,
        "trials": grid.trials,
        "batch": grid.batch,
        "method_seed": method_seed(cell.space, cell.task, cell.seed),
        "error": {"type": "WorkerDeath", "message": cause, "traceback": ""},
        "warnings": {},
    }


def data_digest(task: Task, protocol: Protocol) -> str:
    """16 hexadecimal digits of the SHA-256 of what a protocol reads of a task, its surrogate apart."""
    import numpy as np

    digest = hashlib.sha256(f"{task.space}\0{task.name}\0".encode())
    scale = [task.y_min, task.y_max] if protocol == "continuous" else []
    for array in (task.x, task.y, scale):
        digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def describe_error(error: Exception) -> dict[str, str]:
    """An error as the journal keeps it."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


_worker: Worker | None = None


def initialise(grid: Grid) -> None:
    """Prepares a worker process: it leaves Ctrl-C to its parent and ends when its parent does."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _worker = Worker(grid)


def ready() -> bool:
    """Tells that `initialise` succeeded."""
    return _worker is not None


def run_cell(cell: Cell) -> dict[str, Any]:
    """`Worker.run` of this process."""
    if _worker is None:
        raise RuntimeError("run_cell was called in a process that initialise did not prepare")
    return _worker.run(cell)
