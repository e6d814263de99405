# SPDX-License-Identifier: Apache-2.0
"""The stream of training episodes: a function of the seed and the step alone, made ahead by a process."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

import torch

from diffhpo.policy import derived_seed
from diffhpo.pretraining.episode import Episode, draw_episode
from diffhpo.pretraining.preset import Preset
from diffhpo.pretraining.rollout import FIRST_CHUNK, Rollouts, load_rollouts
from diffhpo.pretraining.source import TaskSource
from diffhpo.prior.task_batch import TaskBatch
from diffhpo.process.end_with_parent import end_with_parent

#: One chunk in so many is of functions with rollouts, where there are some.
ROLLOUT_EVERY = 3

_source: TaskSource | None = None


def _start(make: Callable[[], TaskSource]) -> None:
    global _source
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then saves
    torch.set_num_threads(1)
    _source = make()


def _draw(index: int, size: int, points: int) -> TaskBatch:
    assert _source is not None
    return _source(index, size, points)


class EpisodeStream:
    """Episodes by step; a worker process draws the functions of later steps meanwhile.

    Functions come in chunks, sorted by dimension and cut into batches, so that a batch pads little; each
    chunk serves `passes` times, with new contexts. Which functions and contexts a step sees depends on
    (seed, step) alone, so a run that was stopped goes on as if it had not been.

    Args:
        make: makes the source of functions; it is called in the worker, so it must be picklable.
        preset: sizes.
        seed: of the contexts.
        rollouts: directory of `collect_rollouts`, or None.
        rollout_chunks: how many are in it.
        ahead: chunks that are drawn in advance.
    """

    def __init__(
        self,
        make: Callable[[], TaskSource],
        preset: Preset,
        *,
        seed: int,
        rollouts: Path | None = None,
        rollout_chunks: int = 0,
        ahead: int = 3,
    ) -> None:
        self.preset, self.seed, self.ahead = preset, seed, ahead
        self.rollouts, self.rollout_chunks = rollouts, rollout_chunks
        self._pool = ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_start, initargs=(make,)
        )
        self._pending: deque[tuple[int, Future[TaskBatch]]] = deque()
        self._chunk: tuple[int, TaskBatch] | None = None
        self._runs: tuple[int, Rollouts] | None = None

    def __enter__(self) -> EpisodeStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def episode(self, step: int) -> Episode:
        """The episode of step 0, 1, ..."""
        preset = self.preset
        batches = preset.chunk // preset.batch
        index, place = divmod(step, batches * preset.passes)
        tasks = self._sorted_chunk(index)
        # A permutation of the chunk's batches in each pass: successive steps differ in dimension.
        generator = torch.Generator().manual_seed(derived_seed(self.seed, index, place // batches) % 2**63)
        order = torch.randperm(batches, generator=generator)
        first = int(order[place % batches]) * preset.batch
        part = tasks.rows(slice(first, first + preset.batch))
        generator = torch.Generator().manual_seed(derived_seed(self.seed, step) % 2**63)
        number = self._rollout_number(index)
        runs = None
        if number is not None:
            assert self.rollouts is not None
            if self._runs is None or self._runs[0] != number:
                self._runs = number, load_rollouts(self.rollouts, number)
            runs = self._runs[1].rows(slice(first, first + preset.batch))
        return draw_episode(
            part,
            generator,
            largest=preset.largest,
            queries=preset.queries,
            targets=preset.targets,
            rollouts=runs,
        )

    def _rollout_number(self, index: int) -> int | None:
        """Which rollouts chunk `index` has, if any."""
        if self.rollouts is None or not self.rollout_chunks or index % ROLLOUT_EVERY:
            return None
        return index // ROLLOUT_EVERY % self.rollout_chunks

    def _sorted_chunk(self, index: int) -> TaskBatch:
        if self._chunk is not None and self._chunk[0] == index:
            return self._chunk[1]
        while self._pending and self._pending[0][0] != index:
            self._pending.popleft()[1].cancel()
        first = self._pending[-1][0] + 1 if self._pending else index
        for later in range(first, index + self.ahead + 1):
            number = self._rollout_number(later)
            drawn = later if number is None else FIRST_CHUNK + number
            future = self._pool.submit(_draw, drawn, self.preset.chunk, self.preset.points)
            self._pending.append((later, future))
        tasks = self._pending.popleft()[1].result()
        self._chunk = index, tasks.rows(tasks.dims.argsort(stable=True))
        return self._chunk[1]
