# SPDX-License-Identifier: Apache-2.0
"""Runs a grid in parallel processes and journals every finished run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from diffhpo.errors import InputError, RunError
from diffhpo.study import worker
from diffhpo.study.environment import cores, machine, versions
from diffhpo.study.grid import Cell, Grid, method_seed
from diffhpo.study.journal import Journal, Record, read_runs
from diffhpo.study.methods import entry


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
    progress: bool = True,
    retry_failed: bool = False,
) -> StudyOutcome:
    """Makes every run of the grid that the directory's journal does not have yet.

    Each run is made in one of `workers` processes that use one thread each; its result depends on its cell of
    the grid alone, so neither the number of workers nor an interruption changes it. A run that fails is
    journalled with its traceback and the others go on. After an interruption the same call goes on.

    Args:
        directory: the run directory; made if absent.
        grid: what to run.
        workers: processes, at least 1; None is one for each core.
        progress: whether a progress bar is shown on stderr.
        retry_failed: whether runs that failed before are made again.

    Raises:
        InputError: if `workers` is below 1 or a method's name is unknown.
        RunError: if the directory is in use, holds another grid or cannot be written, or no worker starts.
        DataError: if the journal is damaged.
        KeyboardInterrupt: on Ctrl-C, with the number of runs kept as its message.
    """
    workers = cores() if workers is None else workers
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers is {workers!r}; a whole number of at least 1 is needed")
    for name in grid.methods:
        entry(name)
    from tqdm import tqdm

    with Journal(directory, grid) as journal:
        cells = journal.grid.cells_of_shard()
        pending = deque(cell for cell in cells if not _settled(journal.runs.get(cell), retry_failed))
        new = len(pending)
        with tqdm(
            total=len(cells), initial=len(cells) - new, unit="run", disable=not progress, dynamic_ncols=True
        ) as bar:
            try:
                with contextlib.closing(_records(journal.grid, pending, workers)) as records:
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


class _Slot:
    """One worker process; an executor of its own, so that a death is put down to the run that it befell."""

    def __init__(self, grid: Grid) -> None:
        self._executor = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=worker.initialise, initargs=(grid,)
        )
        before = set(multiprocessing.active_children())
        with _single_threaded(), _interrupts_held():
            self._ready = self._executor.submit(worker.ready)  # starts the process
        self._process = next(iter(set(multiprocessing.active_children()) - before), None)

    def submit(self, cell: Cell) -> Future[Record]:
        return self._executor.submit(worker.run_cell, cell)

    def cause_of_death(self) -> str:
        """What is known of a process that is gone.

        Raises:
            RunError: if it had not even started to work, since the next one would not either.
        """
        if self._ready.exception() is not None:
            raise RunError(
                "the worker processes do not start. A script that calls run_study needs the guard "
                "`if __name__ == '__main__':`; else see the output above"
            )
        exit_code = None
        if self._process is not None:
            self._process.join(timeout=10)
            exit_code = self._process.exitcode
        if exit_code is None or exit_code >= 0:
            return f"the worker process ended with exit code {exit_code}"
        name = signal.Signals(-exit_code).name
        reason = " (out of memory? use fewer --workers and --retry-failed)" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{reason}"

    def close(self, *, now: bool) -> None:
        """Ends the process: when its run is done, or now."""
        if now and self._process is not None:
            self._process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)


def _records(grid: Grid, pending: deque[Cell], workers: int) -> Generator[Record, None, None]:
    """The record of each pending cell, as the runs finish."""
    facts = {"versions": versions(), "machine": machine()}
    idle: list[_Slot] = []
    running: dict[Future[Record], tuple[_Slot, Cell]] = {}
    finished = False
    try:
        while pending or running:
            while pending and len(running) < workers:
                slot = idle.pop() if idle else _Slot(grid)
                cell = pending.popleft()
                running[slot.submit(cell)] = slot, cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                slot, cell = running.pop(future)
                try:
                    record = future.result()
                    idle.append(slot)
                except BrokenProcessPool:
                    record = _death_record(grid, cell, slot.cause_of_death())
                    slot.close(now=True)
                yield {**record, **facts}
        finished = True
    finally:
        for slot in [*idle, *(slot for slot, _ in running.values())]:
            slot.close(now=not finished)


def _death_record(grid: Grid, cell: Cell, cause: str) -> Record:
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


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Lets processes that start inside read thread counts of 1, before they load a numerical library."""
    before = {name: os.environ.get(name) for name in worker.SINGLE_THREAD}
    os.environ.update(worker.SINGLE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back from this thread, and for good from processes that start inside."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
