# SPDX-License-Identifier: Apache-2.0
"""Runs a grid in parallel processes and journals every finished run."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.study.grid import Cell, Grid
from diffhpo.study.journal import Journal, Record, read_runs
from diffhpo.study.methods import entry

Executor: TypeAlias = Literal["processes", "ray"]

#: Grid, pending cells, workers -> the record of each cell, as the runs finish.
_Records: TypeAlias = Callable[[Grid, deque[Cell], "int | None"], Generator[Record, None, None]]


@dataclass(frozen=True)
class StudyOutcome:
    """What `run_study` did.

    Attributes:
        new: runs that this call made.
        kept: runs that were in the journal already and were not repeated.
        failed: the records of this shard's failed runs, old and new.
        notices: sentences for the user about what was repaired.
    """

    new: int
    kept: int
    failed: tuple[Record, ...]
    notices: tuple[str, ...]


def run_study(
    directory: Path | str,
    grid: Grid,
    *,
    workers: int | None = None,
    executor: Executor = "processes",
    progress: bool = True,
    retry_failed: bool = False,
) -> StudyOutcome:
    """Makes every run of the grid that the directory's journal does not have yet.

    Each run is made in one of `workers` processes that use one thread each; its result depends on its cell of
    the grid alone, so neither the executor, the number of workers nor an interruption changes it. A run that
    fails is journalled with its traceback and the others go on. After an interruption the same call goes on.

    Args:
        directory: the run directory; made if absent.
        grid: what to run.
        workers: processes, at least 1; None is one for each core, of this machine or of the Ray cluster.
        executor: `"processes"` of this machine, or `"ray"`: those of a Ray cluster, see `ray_records`. The
            journal is written here either way.
        progress: whether a progress bar is shown on stderr.
        retry_failed: whether runs that failed before are made again.

    Raises:
        InputError: if `workers` is below 1, or a method's or the executor's name is unknown.
        DependencyError: if Ray is asked for and not installed.
        RunError: if the directory is in use, holds another grid or cannot be written, or no worker starts.
        DataError: if the journal is damaged.
        KeyboardInterrupt: on Ctrl-C, with the number of runs kept as its message.
    """
    if workers is not None:
        workers = whole_number(workers, "workers", least=1)
    records_of = _executor(executor)
    for name in grid.methods:
        entry(name)
    from tqdm import tqdm

    with Journal(directory, grid) as journal:
        cells = journal.grid.cells_of_shard()
        pending = deque(cell for cell in cells if not _settled(journal.runs.get(cell), retry_failed))
        new = len(pending)
        with tqdm(
            total=len(cells),
            initial=len(cells) - new,
            unit="run",
            disable=not progress or sys.stderr is None,
            dynamic_ncols=True,
        ) as bar:
            try:
                with contextlib.closing(records_of(journal.grid, pending, workers)) as records:
                    for record in records:
                        journal.append(record)
                        bar.set_postfix_str(f"{record['method']} on {record['task']}", refresh=False)
                        bar.update()
            except KeyboardInterrupt:
                _, kept = read_runs(Path(directory))  # the interrupt may have come just after a write
                raise KeyboardInterrupt(
                    f"{sum(cell in kept for cell in cells)} of {len(cells)} runs are finished and "
                    f"kept in {directory}; give the same command again to go on"
                ) from None
        failed = tuple(journal.runs[cell] for cell in cells if journal.runs[cell]["error"])
        return StudyOutcome(new, len(cells) - new, failed, tuple(journal.notices))


def _settled(record: Record | None, retry_failed: bool) -> bool:
    return record is not None and not (retry_failed and record["error"])


def _executor(name: str) -> _Records:
    """Where the runs are made."""
    if name == "processes":
        from diffhpo.study.process_records import process_records

        return process_records
    if name == "ray":
        from diffhpo.study.ray_records import ray_records

        return ray_records
    raise InputError(f"executor is {name!r}; accepted: 'processes', 'ray'")
