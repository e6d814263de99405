# SPDX-License-Identifier: Apache-2.0
"""The stream of training episodes, made ahead by worker processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from safetensors.torch import load, save

from diffhpo.arguments.whole_number import whole_number
from diffhpo.pretraining.episode import Episode
from diffhpo.pretraining.episode_chunk import chunk_episodes, episodes_in_chunk
from diffhpo.pretraining.preset import Preset
from diffhpo.pretraining.source import TaskSource
from diffhpo.pretraining.worker_pool import WorkerPool

#: Chunks that are drawn in advance, beside those that the workers are at.
AHEAD = 2


def _open_chunks(
    make: Callable[[], TaskSource], preset: Preset, seed: int, rollouts: Path | None, rollout_chunks: int
) -> Callable[[int], list[bytes]]:
    source = make()

    def chunk(index: int) -> list[bytes]:
        """As bytes: torch would send every tensor as an open file in shared memory; there are few."""
        episodes = chunk_episodes(
            source, preset, index, seed=seed, rollouts=rollouts, rollout_chunks=rollout_chunks
        )
        return [
            save({name: tensor.contiguous() for name, tensor in episode.tensors().items()})
            for episode in episodes
        ]

    return chunk


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
        self._pool: WorkerPool[list[bytes]] = WorkerPool(
            partial(_open_chunks, make, preset, seed, rollouts, rollout_chunks),
            workers,
            lost="a process that draws functions was ended",
        )
        self._at: tuple[int, list[bytes]] | None = None

    def __enter__(self) -> EpisodeStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def episode(self, step: int) -> Episode:
        """The episode of step 0, 1, ...

        Raises:
            RunError: if a worker process was ended.
        """
        index, place = divmod(step, self._each)
        if self._at is None or self._at[0] != index:
            ahead = range(index, index + self._ahead + 1)
            self._at = index, self._pool.piece(index, ahead)
        return Episode.of(load(self._at[1][place]))
