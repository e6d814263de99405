# SPDX-License-Identifier: Apache-2.0
"""The records of a grid's runs, made in parallel processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from diffhpo.errors import RunError
from diffhpo.process.cores import cores
from diffhpo.process.deferred_interrupts import deferred_interrupts
from diffhpo.study import worker
from diffhpo.study.environment import machine, versions
from diffhpo.study.grid import Cell, Grid
from diffhpo.study.journal import Record


def process_records(grid: Grid, pending: deque[Cell], workers: int | None) -> Generator[Record, None, None]:
    """The record of each pending cell, as the runs finish; closing the generator ends the processes.

    Args:
        grid: what is run.
        pending: its cells that are to be made; they are taken from it.
        workers: processes; None is one for each core.

    Raises:
        RunError: if no process starts.
    """
    workers = cores() if workers is None else workers
    facts = {"versions": versions(), "machine": machine()}
    slots: list[_Slot] = []  # all that live, so that an interruption leaves none behind
    idle: list[_Slot] = []
    running: dict[Future[Record], tuple[_Slot, Cell]] = {}
    events: queue.SimpleQueue[Future[Record] | None] = queue.SimpleQueue()  # a run's end; None is a Ctrl-C
    finished = False
    with deferred_interrupts(lambda: events.put(None)) as deliver_interrupt:
        try:
            while pending or running:
                while pending and len(running) < workers:
                    if not idle:
                        slots.append(_Slot(grid))
                        idle.append(slots[-1])
                    slot = idle.pop()
                    cell = pending.popleft()
                    future = slot.submit(cell)
                    running[future] = slot, cell
                    future.add_done_callback(events.put)
                ended = events.get()
                if ended is None:
                    deliver_interrupt()
                    continue
                slot, cell = running.pop(ended)
                try:
                    record = ended.result()
                    idle.append(slot)
                except BrokenProcessPool:
                    record = worker.death_record(grid, cell, slot.cause_of_death())
                    slot.close()  # its process is gone
                    slots.remove(slot)
                yield {**record, **facts}
            finished = True
        finally:
            if not finished:
                for slot in slots:
                    slot.kill()
            for slot in slots:
                slot.close()


class _Slot:
    """One worker process; an executor of its own, so that a death is put down to the run that it befell."""

    def __init__(self, grid: Grid) -> None:
        self._executor = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=worker.initialise, initargs=(grid,)
        )
        before = set(multiprocessing.active_children())
        with _single_threaded(), _interrupts_blocked():
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
        exit_code = self._exit_code()
        if exit_code is None or exit_code >= 0:
            return f"the worker process ended with exit code {exit_code}"
        name = signal.Signals(-exit_code).name
        reason = " (out of memory? use fewer --workers and --retry-failed)" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{reason}"

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(timeout=10)
        # The executor's thread may have collected the process and not noted its code yet.
        for _ in range(1000):
            if self._process.exitcode is not None:
                break
            time.sleep(0.01)
        return self._process.exitcode

    def kill(self) -> None:
        """Stops the process without waiting for it; what its run was doing is lost."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Ends the process when its run is done."""
        self._executor.shutdown(wait=True, cancel_futures=True)


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
def _interrupts_blocked() -> Iterator[None]:
    """Blocks Ctrl-C for good in processes that start inside: their parent stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
