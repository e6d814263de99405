# SPDX-License-Identifier: Apache-2.0
"""The stream of training episodes, made ahead by worker processes."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from safetensors.torch import load, save

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import RunError
from diffhpo.pretraining.episode import Episode
from diffhpo.pretraining.episode_chunk import chunk_episodes, episodes_in_chunk
from diffhpo.pretraining.preset import Preset
from diffhpo.pretraining.source import TaskSource
from diffhpo.pretraining.worker_process import begin_worker
from diffhpo.process.deferred_interrupts import deferred_interrupts

#: Chunks that are drawn in advance, beside those that the workers are at.
AHEAD = 2

_open: Callable[[], Callable[[int], list[Episode]]] | None = None
_draw: Callable[[int], list[Episode]] | None = None


def _start(
    make: Callable[[], TaskSource], preset: Preset, seed: int, rollouts: Path | None, rollout_chunks: int
) -> None:
    global _open
    begin_worker()

    def open_source() -> Callable[[int], list[Episode]]:
        return partial(
            chunk_episodes, make(), preset, seed=seed, rollouts=rollouts, rollout_chunks=rollout_chunks
        )

    # At the first chunk, whose error reaches the parent; one from here would be a lost process alone.
    _open = open_source


def _chunk(index: int) -> list[bytes]:
    """As bytes: torch would send every tensor as an open file in shared memory, of which there are few."""
    global _draw
    assert _open is not None
    if _draw is None:
        _draw = _open()
    return [
        save({name: tensor.contiguous() for name, tensor in episode.tensors().items()})
        for episode in _draw(index)
    ]


class EpisodeStream:
    """Episodes by step, in rising order; worker processes draw those of later steps meanwhile.

    Which functions and contexts a step sees depends on (seed, step) alone, so a run that was stopped goes on
    as if it had not been, with any number of workers.

    Args:
        make: makes the source of functions; it is called in the workers, so it must be picklable.
        preset: sizes.
        seed: of the contexts.
        rollouts: directory of `collect_rollouts`, or None.
        rollout_chunks: how many are in it.
        workers: processes, at least 1.

    Raises:
        InputError: on another number of workers.
    """

    def __init__(
        self,
        make: Callable[[], TaskSource],
        preset: Preset,
        *,
        seed: int,
        rollouts: Path | None = None,
        rollout_chunks: int = 0,
        workers: int = 1,
    ) -> None:
        workers = whole_number(workers, "workers", least=1)
        self._each, self._ahead = episodes_in_chunk(preset), workers + AHEAD
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=get_context("spawn"),
            initializer=_start,
            initargs=(make, preset, seed, rollouts, rollout_chunks),
        )
        self._pending: deque[tuple[int, Future[list[bytes]]]] = deque()
        self._at: tuple[int, list[bytes]] | None = None

    def __enter__(self) -> EpisodeStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def episode(self, step: int) -> Episode:
        """The episode of step 0, 1, ...

        Raises:
            RunError: if a worker process was ended.
        """
        index, place = divmod(step, self._each)
        if self._at is None or self._at[0] != index:
            self._at = index, self._drawn(index)
        return Episode.of(load(self._at[1][place]))

    def _drawn(self, index: int) -> list[bytes]:
        ended: queue.SimpleQueue[object] = queue.SimpleQueue()
        with deferred_interrupts(lambda: ended.put(None)) as deliver_interrupt:
            while self._pending and self._pending[0][0] != index:
                self._pending.popleft()[1].cancel()
            try:
                first = self._pending[-1][0] + 1 if self._pending else index
                for later in range(first, index + self._ahead + 1):
                    self._pending.append((later, self._pool.submit(_chunk, later)))
                future = self._pending.popleft()[1]
                future.add_done_callback(ended.put)
                while ended.get() is None:
                    deliver_interrupt()
                return future.result()
            except BrokenProcessPool as error:
                raise RunError(
                    "a process that draws functions was ended; memory may have run out: use fewer workers. "
                    "Start again to go on from the last checkpoint"
                ) from error
