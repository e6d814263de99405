# SPDX-License-Identifier: Apache-2.0
"""Rollouts on many functions, in files: they can be made by several processes, and at any time again."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import RunError
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.policy import derived_seed
from diffhpo.pretraining.rollout import ASKED, FIRST_CHUNK, LENGTH, Rollouts, roll_out
from diffhpo.pretraining.rollout_acquisition import GaussianProcessAcquisition, PredictorAcquisition
from diffhpo.pretraining.rollout_file import rollouts_path, save_rollouts
from diffhpo.pretraining.source import TaskSource
from diffhpo.pretraining.worker_process import begin_worker
from diffhpo.process.deferred_interrupts import deferred_interrupts

#: Functions of like dimension that are optimised together: it pads little.
_TOGETHER = 32


@dataclass(frozen=True)
class _Plan:
    """The arguments of `collect_rollouts`."""

    directory: Path
    make: Callable[[], TaskSource]
    size: int
    points: int
    seed: int
    rival_share: float


class _Collector:
    """Makes the rollouts of one chunk after the other."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._model = load_universal(plan.directory / "model.safetensors").model.eval()
        self._source = plan.make()

    def __call__(self, number: int) -> None:
        plan = self._plan
        tasks = self._source(FIRST_CHUNK + number, plan.size, plan.points)
        tasks = tasks.rows(tasks.dims.argsort(stable=True))
        # The whole part of rows * share rises at the rival's rows.
        parts = torch.arange(1, plan.size + 1).mul(plan.rival_share).floor()
        rival = parts.diff(prepend=torch.zeros(1)) > 0
        made = Rollouts(
            torch.empty(plan.size, LENGTH, dtype=torch.int64),
            torch.empty(plan.size, LENGTH, ASKED, dtype=torch.int64),
        )
        generator = torch.Generator().manual_seed(derived_seed(plan.seed, number) % 2**63)
        for rows in torch.arange(plan.size).split(_TOGETHER):
            for by_rival in (False, True):
                some = rows[rival[rows] == by_rival]
                if len(some):
                    wants = GaussianProcessAcquisition() if by_rival else PredictorAcquisition(self._model)
                    runs = roll_out(wants, tasks.rows(some), generator)
                    made.order[some], made.asked[some] = runs.order, runs.asked
        save_rollouts(plan.directory, number, made)


def collect_rollouts(
    directory: str | os.PathLike[str],
    make: Callable[[], TaskSource],
    *,
    chunks: range,
    size: int,
    points: int,
    seed: int,
    rival_share: float = 0.0,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """Write `directory/NUMBER.npz` for the chunks that are not there yet.

    A chunk's functions are sorted by dimension; those of the rival are spread evenly among them.

    Args:
        directory: holds `model.safetensors`, whose model makes the runs.
        make: makes the source of functions; picklable where there are several workers.
        chunks: their numbers, from 0.
        size, points: of each chunk.
        seed: of the draws.
        rival_share: of the functions that a Gaussian process optimises instead of the model, 0 to 1.
        workers: processes; one is this one. The files do not depend on it.
        progress: show a bar.

    Raises:
        InputError: on a number of workers that is none.
        CheckpointError: if the model cannot be read.
        RunError: if a file cannot be written, or a worker process was ended; the files that are there stay,
            and the next call makes the rest.
    """
    workers = whole_number(workers, "workers", least=1)
    plan = _Plan(Path(directory), make, size, points, seed, rival_share)
    left = [number for number in chunks if not rollouts_path(directory, number).exists()]
    if not left:
        return
    with tqdm(
        total=len(chunks),
        initial=len(chunks) - len(left),
        disable=not progress or sys.stderr is None,
        unit="chunk",
    ) as bar:
        for _ in map(_Collector(plan), left) if workers == 1 else _in_processes(plan, left, workers):
            bar.update()


_plan: _Plan | None = None
_collector: _Collector | None = None


def _begin(plan: _Plan) -> None:
    global _plan
    begin_worker()
    _plan = plan


def _collect(number: int) -> None:
    global _collector
    assert _plan is not None
    if _collector is None:
        # Not before, where its error would not reach the parent.
        _collector = _Collector(_plan)
    _collector(number)


def _in_processes(plan: _Plan, numbers: Sequence[int], workers: int) -> Iterator[None]:
    """Makes the chunks' files; gives None after each."""
    ended: queue.SimpleQueue[Future[None] | None] = queue.SimpleQueue()  # None is a Ctrl-C
    pool = ProcessPoolExecutor(
        min(workers, len(numbers)), mp_context=get_context("spawn"), initializer=_begin, initargs=(plan,)
    )
    with deferred_interrupts(lambda: ended.put(None)) as deliver_interrupt:
        try:
            for number in numbers:
                pool.submit(_collect, number).add_done_callback(ended.put)
            left = len(numbers)
            while left:
                future = ended.get()
                if future is None:
                    deliver_interrupt()
                    continue
                future.result()
                left -= 1
                yield None
        except BrokenProcessPool as error:
            raise RunError(
                "a process that makes rollouts was ended; memory may have run out: use fewer workers. Start "
                f"again to make the rest of {plan.directory}"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
