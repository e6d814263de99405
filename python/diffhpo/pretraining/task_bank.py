# SPDX-License-Identifier: Apache-2.0
"""Real tasks' functions, each evaluated once at many points, so that draws cost nothing."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from diffhpo import __version__
from diffhpo.errors import DataError, InputError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.npz_archive import npz_archive
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.surrogate_pair import SurrogatePair, task_seed
from diffhpo.pretraining.task_view import Points, TaskView, combined, compatible, narrowed, plain
from diffhpo.prior.task_batch import CATEGORICAL
from diffhpo.process.end_with_parent import end_with_parent

#: Version of the layout of a bank's file; a reader refuses a later one.
SCHEMA = 1
#: Points of each function: this share spread over its space, the rest near the best found so far.
UNIFORM_SHARE = 0.4
N_ROUNDS = 6
N_ELITES = 24
#: Tables with so many rows are also used as they are, without a surrogate.
TABLE_ROWS = 400
#: A function whose broad points vary less than this (in standard deviations of its task) is not kept.
FLAT = 0.02
#: Functions made of each task beside itself.
N_NARROWED, N_COMBINED = 2, 1
_STEPS = (0.02, 0.06, 0.2)


@dataclass(frozen=True)
class BankEntry:
    """One function's evaluations.

    Args:
        origin: What the function is.
        family: Family of the task, for weights.
        x: (P, d) float32.
        values: (P, 2) float32 by the two surrogates; equal where the values are a table's own.
        kinds: (d,).
        roles: (d,).
        broad: (P,) bool, true for points that no search added.
    """

    origin: str
    family: str
    x: Points
    values: NDArray[np.float32]
    kinds: NDArray[np.int64]
    roles: NDArray[np.int64]
    broad: NDArray[np.bool_]


def _explore(
    view: TaskView, points: int, rng: np.random.Generator
) -> tuple[Points, NDArray[np.float32], NDArray[np.bool_]]:
    """Evaluate a function at spread points (the flag), then in rounds around the best of them all."""
    x = view.spread(rng, int(UNIFORM_SHARE * points))
    broad = np.ones(len(x), dtype=np.bool_)
    if len(view.start):
        start = view.snap(view.start[: points // 20])
        x = np.concatenate([start, x])
        broad = np.concatenate([np.zeros(len(start), dtype=np.bool_), broad])
    values = view.evaluate(x)
    d = x.shape[1]
    for r in range(N_ROUNDS):
        count = (points - len(x)) // (N_ROUNDS - r)
        # Elites by the trees, by the smooth surrogate and by their mean in turn: each has its own optimum.
        score = values @ np.array([(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)][r % 3], dtype=np.float32)
        elites = x[np.argsort(-score, kind="stable")[:N_ELITES]]
        # The better an elite, the more offspring.
        parents = np.minimum(rng.exponential(N_ELITES / 4, count).astype(np.intp), len(elites) - 1)
        child = elites[parents]
        mate = elites[rng.integers(len(elites), size=count)]
        crossed = (rng.random((count, d)) < 0.5) & (rng.random((count, 1)) < 0.2)
        child = np.where(crossed, mate, child)
        moved = rng.random((count, d)) < rng.uniform(1.0 / d, 1.0, (count, 1))
        step = rng.choice(_STEPS, (count, 1)) * rng.standard_normal((count, d))
        fresh = view.uniform(rng, count)
        child = np.where(moved, child + step, child)
        redrawn = (view.kinds == CATEGORICAL)[None] & (rng.random((count, d)) < 0.15)
        child = view.snap(np.where(redrawn, fresh, child).astype(np.float32))
        x = np.concatenate([x, child])
        values = np.concatenate([values, view.evaluate(child)])
    return x, values, np.concatenate([broad, np.zeros(len(x) - len(broad), dtype=np.bool_)])


class _Pairs:
    """Fitted surrogates of tasks, each fitted once; a copy sent to another process starts empty."""

    def __init__(self, tasks: Sequence[RealTask]) -> None:
        self.tasks = list(tasks)
        self._fitted: dict[str, SurrogatePair] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"tasks": self.tasks, "_fitted": {}}

    def __call__(self, task: RealTask) -> SurrogatePair:
        if task.name not in self._fitted:
            self._fitted[task.name] = SurrogatePair(task)
        return self._fitted[task.name]


def _entries(fitted: _Pairs, number: int, *, seed: int, points: int, n_combined: int) -> list[BankEntry]:
    """All functions of task `number`, on one thread: workers do not compete, and sums have one order."""
    with threadpool_limits(1):
        return _task_entries(fitted, number, seed=seed, points=points, n_combined=n_combined)


def _task_entries(fitted: _Pairs, number: int, *, seed: int, points: int, n_combined: int) -> list[BankEntry]:
    tasks, task = fitted.tasks, fitted.tasks[number]
    rng = np.random.default_rng([seed, task_seed(task.name)])
    pair = fitted(task)
    views = [plain(pair)] + [narrowed(pair, rng) for _ in range(N_NARROWED)]
    partners = [other for other in tasks if other is not task and compatible(task, other)]
    for _ in range(n_combined if partners else 0):
        views.append(combined(pair, fitted(partners[rng.integers(len(partners))]), rng))
    out = []
    if len(task) >= TABLE_ROWS:
        rows = rng.permutation(len(task))[:points]
        # The table's best row stays in.
        rows[0] = rows[0] if task.y.argmax() in rows else task.y.argmax()
        value = pair.y[rows].astype(np.float32)
        out.append(
            BankEntry(
                f"{task.name} table",
                task.family,
                task.x[rows],
                np.stack([value, value], axis=1),
                task.kinds,
                task.roles,
                np.ones(len(rows), dtype=np.bool_),
            )
        )
    for view in views:
        x, values, broad = _explore(view, points, rng)
        if values[broad].std(0).min() > FLAT:
            out.append(BankEntry(view.origin, task.family, x, values, view.kinds, view.roles, broad))
    return out


class TaskBank:
    """Evaluated functions of real tasks.

    Args:
        entries: At least one.

    Raises:
        InputError: no entries.
    """

    def __init__(self, entries: Iterable[BankEntry]) -> None:
        self.entries = tuple(entries)
        if not self.entries:
            raise InputError("a bank needs at least one function; no task gave one")

    def __len__(self) -> int:
        return len(self.entries)

    @classmethod
    def build(
        cls,
        tasks: Sequence[RealTask],
        *,
        seed: int = 0,
        points: int = 2048,
        n_combined: int = N_COMBINED,
        workers: int = 1,
    ) -> TaskBank:
        """Fit the surrogates of every task and evaluate its functions.

        Args:
            tasks: Train tasks; names must differ.
            seed: With a task's name it decides the task's functions.
            points: Evaluations of each function.
            n_combined: Sums and products made of each task with another.
            workers: Processes; the result does not depend on it.

        Raises:
            InputError: no tasks, equal names, or fewer than 64 points.
            DependencyError: xgboost is not installed.
        """
        if not tasks or len({task.name for task in tasks}) < len(tasks):
            raise InputError(f"tasks holds {len(tasks)} tasks; at least one and different names are needed")
        if points < 64:
            raise InputError(f"points is {points}; 64 or more is accepted")
        work = partial(_entries, _Pairs(tasks), seed=seed, points=points, n_combined=n_combined)
        if workers == 1:
            return cls(entry for number in range(len(tasks)) for entry in work(number))
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=end_with_parent
        ) as pool:
            found = pool.map(work, range(len(tasks)), chunksize=4)
            return cls(entry for entries in found for entry in entries)

    def save(self, path: str | Path) -> None:
        """Write the bank as one `.npz` (float32, not compressed), whole or not at all.

        Raises:
            DataError: if the file cannot be written; one that was there before stays.
        """
        arrays: dict[str, NDArray[np.generic]] = {
            "schema": np.array(SCHEMA),
            WRITER: np.array(__version__),
            "origins": np.array([entry.origin for entry in self.entries]),
            "families": np.array([entry.family for entry in self.entries]),
            "shapes": np.array([entry.x.shape for entry in self.entries]),
            "x": np.concatenate([entry.x.ravel() for entry in self.entries]),
            "values": np.concatenate([entry.values.ravel() for entry in self.entries]),
            "kinds": np.concatenate([entry.kinds for entry in self.entries]).astype(np.int8),
            "roles": np.concatenate([entry.roles for entry in self.entries]).astype(np.int8),
            "broad": np.concatenate([entry.broad for entry in self.entries]),
        }
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        try:
            write_atomically(Path(path), packed.getvalue())
        except OSError as error:
            raise DataError(f"{path} cannot be written: {reason_and_remedy(error)}") from error

    @classmethod
    def load(cls, path: str | Path) -> TaskBank:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or damaged, or has a later schema.
        """
        with npz_archive(path, "a bank of real tasks; build it again") as archive:
            # Files of before the field are of schema 1.
            schema, writer = (str(archive[key]) if key in archive else None for key in ("schema", WRITER))
            check_schema(schema or "1", SCHEMA, path, writer=writer, error=DataError)
            shapes = archive["shapes"]
            cells, rows, columns = shapes.prod(1), shapes[:, 0], shapes[:, 1]
            xs = np.split(archive["x"], np.cumsum(cells)[:-1])
            values = np.split(archive["values"], np.cumsum(2 * rows)[:-1])
            kinds = np.split(archive["kinds"].astype(np.int64), np.cumsum(columns)[:-1])
            roles = np.split(archive["roles"].astype(np.int64), np.cumsum(columns)[:-1])
            broad = np.split(archive["broad"], np.cumsum(rows)[:-1])
            return cls(
                BankEntry(str(o), str(f), x.reshape(s), v.reshape(-1, 2), k, r, b)
                for o, f, s, x, v, k, r, b in zip(
                    archive["origins"],
                    archive["families"],
                    shapes,
                    xs,
                    values,
                    kinds,
                    roles,
                    broad,
                    strict=True,
                )
            )
