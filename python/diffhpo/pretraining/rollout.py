# SPDX-License-Identifier: Apache-2.0
"""Rollouts: optimisation runs on training functions; from the model's own it learns its mistakes.
A rival's show it other histories."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from diffhpo import __version__
from diffhpo.errors import DataError, InputError, RunError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.npz_archive import npz_archive
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.model.universal.dimensions import Dimensions
from diffhpo.model.universal.transformer import UniversalContext
from diffhpo.policy import derived_seed
from diffhpo.pretraining.rollout_acquisition import (
    GaussianProcessAcquisition,
    PredictorAcquisition,
    RolloutAcquisition,
)
from diffhpo.pretraining.source import TaskSource
from diffhpo.prior.task_batch import TaskBatch, points_at

#: Version of the layout of a file of rollouts; a reader refuses a later one.
SCHEMA = 1
#: Initial trials of a rollout, all broad points.
INITIAL = 5
#: Trials at the end of a rollout.
LENGTH = 45
#: Configurations with the largest acquisition value that are remembered at each trial.
ASKED = 16
#: Candidates at each trial: broad ones, and searched ones nearest to the best three trials.
_BROAD, _NEAR = 96, 48
_FEWEST_POINTS = 256
#: Functions of rollout chunks are counted from here, so that they are not those of other chunks.
FIRST_CHUNK = 1_000_000


@dataclass(frozen=True)
class Rollouts:
    """Runs on B functions, as places in the functions' lists of evaluated points."""

    order: Tensor
    """(B, LENGTH) int64: the points in the order of evaluation."""
    asked: Tensor
    """(B, LENGTH, ASKED) int64: [b, n] are the points most wanted after n trials, n >= INITIAL."""

    def rows(self, index: Tensor | slice) -> Rollouts:
        """Those of some of the functions."""
        return Rollouts(self.order[index], self.asked[index])


def roll_out(wants: RolloutAcquisition, tasks: TaskBatch, generator: torch.Generator) -> Rollouts:
    """Optimise B functions over their evaluated points.

    Args:
        wants: scores candidates at each trial.
        tasks: the functions.
        generator: of initial points and candidates.

    Raises:
        InputError: if the functions have fewer than 256 points.
    """
    batch = len(tasks)
    if tasks.x.shape[1] < _FEWEST_POINTS:
        raise InputError(f"tasks have {tasks.x.shape[1]} points each; rollouts need {_FEWEST_POINTS}")
    broad_keys = torch.rand(batch, tasks.x.shape[1], generator=generator)
    order = broad_keys.masked_fill(~tasks.broad, -1.0).topk(INITIAL, dim=1).indices
    asked = torch.zeros(batch, LENGTH, ASKED, dtype=torch.int64)
    dimensions = Dimensions(tasks.kinds, tasks.roles)
    for n in range(INITIAL, LENGTH):
        seen = torch.zeros_like(tasks.broad).scatter(1, order, True)
        y = tasks.y.gather(1, order)
        keys = torch.rand(tasks.y.shape, generator=generator).masked_fill(~tasks.broad | seen, -1.0)
        broad = keys.topk(_BROAD, dim=1).indices
        best = order.gather(1, y.topk(3, dim=1).indices)
        distance = torch.cdist(tasks.x, points_at(tasks.x, best)).amin(2)
        # Chance among the nearest, or the same few would stand at every trial.
        distance = distance * (0.5 + torch.rand(distance.shape, generator=generator))
        near = distance.masked_fill(seen | tasks.broad, torch.inf).topk(_NEAR, dim=1, largest=False).indices
        candidates = torch.cat([broad, near], dim=1)
        context = UniversalContext(
            points_at(tasks.x, order), y, torch.ones(batch, n, dtype=torch.bool), dimensions
        )
        score = wants(context, points_at(tasks.x, candidates))
        score = score.masked_fill(seen.gather(1, candidates), -torch.inf)
        wanted = candidates.gather(1, score.topk(ASKED, dim=1).indices)
        asked[:, n] = wanted
        order = torch.cat([order, wanted[:, :1]], dim=1)
    return Rollouts(order, asked)


def collect_rollouts(
    directory: str | os.PathLike[str],
    make: Callable[[], TaskSource],
    *,
    chunks: range,
    size: int,
    points: int,
    seed: int,
    rival_share: float = 0.0,
    progress: bool = True,
) -> None:
    """Write `directory/NUMBER.npz` for the chunks that are not there yet.

    A chunk's functions are sorted by dimension; those of the rival are spread evenly among them.

    Args:
        directory: holds `model.safetensors`, whose model makes the runs.
        make: makes the source of functions.
        chunks: their numbers, from 0.
        size, points: of each chunk.
        seed: of the draws.
        rival_share: of the functions that a Gaussian process optimises instead of the model, 0 to 1.

    Raises:
        CheckpointError: if the model cannot be read.
        RunError: if a file cannot be written; those before it stay, and the next call makes the rest.
    """
    folder = Path(directory)
    model = load_universal(folder / "model.safetensors").model.eval()
    # The whole part of rows * share rises at the rival's rows.
    rival = torch.arange(1, size + 1).mul(rival_share).floor().diff(prepend=torch.zeros(1)) > 0
    source = make()
    for number in tqdm(chunks, disable=not progress or sys.stderr is None, unit="chunk"):
        path = folder / f"{number}.npz"
        if path.exists():
            continue
        tasks = source(FIRST_CHUNK + number, size, points)
        tasks = tasks.rows(tasks.dims.argsort(stable=True))
        order = torch.empty(size, LENGTH, dtype=torch.int64)
        asked = torch.empty(size, LENGTH, ASKED, dtype=torch.int64)
        generator = torch.Generator().manual_seed(derived_seed(seed, number) % 2**63)
        # By 32 functions of like dimension, which pads little.
        for rows in torch.arange(size).split(32):
            for by_rival in (False, True):
                some = rows[rival[rows] == by_rival]
                if len(some):
                    wants = GaussianProcessAcquisition() if by_rival else PredictorAcquisition(model)
                    made = roll_out(wants, tasks.rows(some), generator)
                    order[some], asked[some] = made.order, made.asked
        packed = io.BytesIO()
        np.savez_compressed(
            packed,
            allow_pickle=False,
            schema=np.array(SCHEMA),
            diffhpo=np.array(__version__),
            order=order.numpy().astype(np.int16),
            asked=asked.numpy().astype(np.int16),
        )
        try:
            write_atomically(path, packed.getvalue())
        except OSError as error:
            raise RunError(f"{path} cannot be written: {reason_and_remedy(error)}") from error


def load_rollouts(directory: str | os.PathLike[str], number: int) -> Rollouts:
    """Rollouts of one chunk; its functions are the source's chunk FIRST_CHUNK + number, sorted by dimension.

    Raises:
        DataError: if the file is missing or damaged, or has a later schema.
    """
    path = Path(directory) / f"{number}.npz"
    with npz_archive(path, "a file of rollouts; collect them again") as archive:
        # Files of before the field are of schema 1.
        schema, writer = (str(archive[key]) if key in archive else None for key in ("schema", WRITER))
        check_schema(schema or "1", SCHEMA, path, writer=writer, error=DataError)
        return Rollouts(
            torch.from_numpy(archive["order"].astype(np.int64)),
            torch.from_numpy(archive["asked"].astype(np.int64)),
        )
