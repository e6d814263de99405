# SPDX-License-Identifier: Apache-2.0
"""Held-out log-likelihood of universal models: on validation tasks, and on functions of the synthetic prior.

No model is told names. A density below e^-10 counts as e^-10, so that no single query decides a mean. On
tasks densities are in units of a task's deviation over uniform points, as in `predictor_calibration`, whose
contexts and queries are used; on synthetic functions they are on the model's own scale of values, which is a
function of the context alone, so that models can be compared on it.

The tasks' surrogates are trees, and up to a third of the queries have exactly the value of a trial in
context. The density there has no bound, and a mean over all queries is much about how sharp a spike a model
dares. So the mean over the other queries stands beside it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from bench.calibration_models import Model
from bench.predictor_calibration import KINDS, QUERIES, SIZES, Contexts
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from diffhpo.files.atomic_write import write_atomically
from diffhpo.hpob.task import Task
from diffhpo.model.universal.model import UniversalModel
from diffhpo.pretraining.episode import Episode, draw_episode
from diffhpo.pretraining.source import SyntheticTasks
from diffhpo.suites import open_suite

Array = NDArray[np.float64]

#: What chooses settings; nothing that is reported on.
VALIDATION = (("hpob-reduced", "choice"), ("x48", "validation"))
#: Contexts of each task, kind and size.
SEEDS = 2
#: Smallest logarithm of a density, in nats.
FLOOR = -10.0

#: Of the held-out functions; runs of the grid have seeds from 0 up.
SYNTHETIC_SEED = 1_000_000
#: Held-out functions; those of one group share a family and a dimension, and count as one observation.
SYNTHETIC, GROUP, BATCH, POINTS = 512, 8, 16, 512


def validation_tasks() -> dict[str, Task]:
    """Name -> task, of all of `VALIDATION`."""
    found = {}
    for name, split in VALIDATION:
        suite = open_suite(name, split)
        for space in suite.spaces():
            found.update({f"{name}/{space}/{task}": suite.task(space, task) for task in suite.tasks(space)})
    return found


@dataclass(frozen=True)
class Drawn:
    """Contexts and queries of one task, kind and size; C contexts of n trials.

    Args:
        x: (C, n, d) configurations.
        y: (C, n) their values.
        queries: (C, QUERIES, d) configurations to predict.
        values: (C, QUERIES) their values.
    """

    x: Array
    y: Array
    queries: Array
    values: Array


class ValidationContexts:
    """Contexts of the validation tasks, kept in a file because the runs among them take minutes.

    Args:
        path: of the file (.npz), written if it is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **_draw_all(validation_tasks()))
            write_atomically(path, buffer.getvalue())
        with np.load(path) as file:
            self._arrays = {name: file[name] for name in file.files}
        self.tasks = sorted({key.rsplit("|", 3)[0] for key in self._arrays})

    def drawn(self, task: str, kind: str, size: int) -> Drawn:
        """Of one task, kind (`KINDS`) and size (`SIZES`)."""
        parts = ("x", "y", "queries", "values")
        return Drawn(*(self._arrays[f"{task}|{kind}|{size}|{part}"] for part in parts))


def _draw_all(tasks: dict[str, Task]) -> dict[str, Array]:
    arrays = {}
    for name, task in tqdm(tasks.items()):
        contexts = Contexts(task, SIZES)
        for kind in KINDS:
            for size in SIZES:
                found = zip(*(contexts.draw(kind, size, seed) for seed in range(SEEDS)), strict=True)
                for part, values in zip(("x", "y", "queries", "values"), found, strict=True):
                    arrays[f"{name}|{kind}|{size}|{part}"] = np.stack(values)
    return arrays


#: Queries that a mean is over: all of a context, or those whose value no trial of the context has.
QUERIES_KEPT = ("all", "untied")


def clamped_mean(log_densities: Array) -> float | None:
    """Mean of log densities (any shape) of which none counts as less than `FLOOR`; None of nothing.

    Example:
        >>> clamped_mean(np.array([-100.0, 0.0]))
        -5.0
    """
    return float(np.maximum(log_densities, FLOOR).mean()) if log_densities.size else None


#: kept queries -> kind -> n -> one figure a task, None where a task has no such query.
Figures: TypeAlias = dict[str, dict[str, dict[str, list[float | None]]]]


def on_tasks(model: Model, contexts: ValidationContexts) -> Figures:
    """Mean log-likelihood of each task in nats, by `QUERIES_KEPT`, `KINDS` and `SIZES`."""
    found: Figures = {kept: {kind: {} for kind in KINDS} for kept in QUERIES_KEPT}
    for kind in KINDS:
        for size in SIZES:
            means: dict[str, list[float | None]] = {kept: [] for kept in QUERIES_KEPT}
            for task in contexts.tasks:
                drawn = contexts.drawn(task, kind, size)
                densities, untied = [], []
                for x, y, queries, values in zip(drawn.x, drawn.y, drawn.queries, drawn.values, strict=True):
                    densities.append(np.asarray(model.predict(x, y, queries).log_prob(values)))
                    untied.append(~np.isin(values, y))
                together = np.stack(densities)
                means["all"].append(clamped_mean(together))
                means["untied"].append(clamped_mean(together[np.stack(untied)]))
            for kept in QUERIES_KEPT:
                found[kept][kind][str(size)] = means[kept]
    return found


class SyntheticEpisodes:
    """Episodes of functions of the prior that no run of the grid has seen, the same for every model."""

    def __init__(self) -> None:
        tasks = SyntheticTasks(SYNTHETIC_SEED)()(0, SYNTHETIC, POINTS)
        # Sorted by dimension, so that a batch pads little; places say which group a row is of.
        order = tasks.dims.argsort(stable=True)
        self._groups = order // GROUP
        self._episodes: dict[int, list[Episode]] = {}
        for size in SIZES:
            generator = torch.Generator().manual_seed(size)
            self._episodes[size] = [
                draw_episode(tasks.rows(rows), generator, trials=size, queries=QUERIES)
                for rows in order.split(BATCH)
            ]

    @torch.no_grad()
    def log_likelihood(self, model: UniversalModel) -> dict[str, list[float]]:
        """n -> mean log-likelihood of each group of functions, in nats."""
        found = {}
        for size, episodes in self._episodes.items():
            by_function = torch.cat([_by_function(model, episode) for episode in episodes])
            sums = torch.zeros(SYNTHETIC // GROUP, dtype=torch.float64)
            sums.index_add_(0, self._groups, by_function)
            found[str(size)] = (sums / GROUP).tolist()
        return found


def _by_function(model: UniversalModel, episode: Episode) -> Tensor:
    """(B,) mean log-likelihood of the queries."""
    embedding = model.transformer(episode.context, episode.names)
    predicted = model.predictor(model.predictor.condition(embedding), episode.query)
    density = predicted.log_prob(embedding.scale.standardise(episode.query_y).float())
    return density.double().clamp_min(FLOOR).mean(1)
