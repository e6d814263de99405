# SPDX-License-Identifier: Apache-2.0
"""Rollouts on many functions, in files: they can be made by several processes, and at any time again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from diffhpo.arguments.whole_number import whole_number
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.policy import derived_seed
from diffhpo.pretraining.rollout import ASKED, FIRST_CHUNK, LENGTH, Rollouts, roll_out
from diffhpo.pretraining.rollout_acquisition import GaussianProcessAcquisition, PredictorAcquisition
from diffhpo.pretraining.rollout_file import rollouts_path, save_rollouts
from diffhpo.pretraining.source import TaskSource
from diffhpo.pretraining.worker_pool import WorkerPool

#: Functions of like dimension that are optimised together: it pads little.
_TOGETHER = 32


class _Collector:
    """Makes the rollouts of one chunk after the other; arguments as `collect_rollouts`."""

    def __init__(
        self,
        directory: Path,
        make: Callable[[], TaskSource],
        size: int,
        points: int,
        seed: int,
        rival_share: float,
    ) -> None:
        self._directory, self._size, self._points, self._seed = directory, size, points, seed
        self._model = load_universal(directory / "model.safetensors").model.eval()
        self._source = make()
        # The whole part of rows * share rises at the rival's rows.
        parts = torch.arange(1, size + 1).mul(rival_share).floor()
        self._rival = parts.diff(prepend=torch.zeros(1)) > 0

    def __call__(self, number: int) -> None:
        size = self._size
        tasks = self._source(FIRST_CHUNK + number, size, self._points).by_dimension()
        made = Rollouts(
            torch.empty(size, LENGTH, dtype=torch.int64),
            torch.empty(size, LENGTH, ASKED, dtype=torch.int64),
        )
        generator = torch.Generator().manual_seed(derived_seed(self._seed, number) % 2**63)
        for rows in torch.arange(size).split(_TOGETHER):
            for by_rival in (False, True):
                some = rows[self._rival[rows] == by_rival]
                if len(some):
                    wants = GaussianProcessAcquisition() if by_rival else PredictorAcquisition(self._model)
                    runs = roll_out(wants, tasks.rows(some), generator)
                    made.order[some], made.asked[some] = runs.order, runs.asked
        save_rollouts(self._directory, number, made)


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
    folder = Path(directory)
    collector = partial(_Collector, folder, make, size, points, seed, rival_share)
    left = [number for number in chunks if not rollouts_path(folder, number).exists()]
    if not left:
        return
    with tqdm(
        total=len(chunks),
        initial=len(chunks) - len(left),
        disable=not progress or sys.stderr is None,
        unit="chunk",
    ) as bar:
        if workers == 1:
            collect = collector()
            for number in left:
                collect(number)
                bar.update()
            return
        lost = f"a process that makes rollouts for {folder} was ended"
        with WorkerPool(collector, min(workers, len(left)), lost=lost) as pool:
            for place, number in enumerate(left):
                pool.piece(number, left[place:])
                bar.update()
