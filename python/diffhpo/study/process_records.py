# SPDX-License-Identifier: Apache-2.0
"""The records of a grid's runs, made in parallel processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from diffhpo.errors import RunError
from diffhpo.study import worker
from diffhpo.study.environment import cores, machine, versions
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
    finished = False
    try:
        while pending or running:
            while pending and len(running) < workers:
                if not idle:
                    with _interrupts_held():
                        slots.append(_Slot(grid))
                    idle.append(slots[-1])
                slot = idle.pop()
                cell = pending.popleft()
                running[slot.submit(cell)] = slot, cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                slot, cell = running.pop(future)
                try:
                    record = future.result()
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
                slot.terminate()
        for slot in slots:
            slot.close()


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
        for _ in range(
            1000
        ):  # the executor's thread may have collected the process and not noted its code yet
            if self._process.exitcode is not None:
                break
            time.sleep(0.01)
        return self._process.exitcode

    def terminate(self) -> None:
        """Stops the process without waiting for it."""
        if self._process is not None:
            self._process.terminate()

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
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back from this thread, and for good from processes that start inside.

    Where another thread takes the signal, a progress bar's for example, Python would raise KeyboardInterrupt
    in the main thread all the same: so its handler waits too.
    """
    held: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    if in_main and handler is not None:
        signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if in_main and handler is not None:
            signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)
