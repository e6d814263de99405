# SPDX-License-Identifier: Apache-2.0
"""Processes that make numbered pieces of work for a training run, ahead of when they are asked for."""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch

from diffhpo.errors import RunError
from diffhpo.process.deferred_interrupts import deferred_interrupts
from diffhpo.process.end_with_parent import end_with_parent

T = TypeVar("T")

_open: Callable[[], Callable[[int], Any]] | None = None
_work: Callable[[int], Any] | None = None


def _begin(open_work: Callable[[], Callable[[int], Any]]) -> None:
    global _open
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then saves
    torch.set_num_threads(1)
    # Opened with the first piece: its error reaches the parent, one from here would be a lost process.
    _open = open_work


def _piece(number: int) -> Any:
    global _work
    assert _open is not None
    if _work is None:
        _work = _open()
    return _work(number)


class WorkerPool(Generic[T]):
    """Makes pieces of work by their number in processes of one core each.

    Args:
        open_work: called once in each process; gives what makes a piece. Picklable.
        workers: processes, at least 1.
        lost: what a RunError says when a process was ended, beside the likely reason.
    """

    def __init__(self, open_work: Callable[[], Callable[[int], T]], workers: int, *, lost: str) -> None:
        self._lost = lost
        self._pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(open_work,)
        )
        self._pending: dict[int, Future[T]] = {}

    def __enter__(self) -> WorkerPool[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is waiting; the processes end when they have made the piece that they are at."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def piece(self, number: int, ahead: Iterable[int]) -> T:
        """Wait for one piece, while those of `ahead` are being made too.

        Args:
            number: of the piece.
            ahead: numbers that will be asked for later; others that were to be made before are given up.

        Raises:
            RunError: if a process was ended.
            Exception: whatever making the piece raised.
        """
        wanted = list(dict.fromkeys((number, *ahead)))
        ended: queue.SimpleQueue[object] = queue.SimpleQueue()  # None is a Ctrl-C
        with deferred_interrupts(lambda: ended.put(None)) as deliver_interrupt:
            for other in self._pending.keys() - set(wanted):
                self._pending.pop(other).cancel()
            try:
                for other in wanted:
                    if other not in self._pending:
                        self._pending[other] = self._pool.submit(_piece, other)
                future = self._pending.pop(number)
                future.add_done_callback(ended.put)
                while ended.get() is None:
                    deliver_interrupt()
                return future.result()
            except BrokenProcessPool as error:
                raise RunError(
                    f"{self._lost}; memory may have run out: use fewer workers. Start again to go on"
                ) from error
