# SPDX-License-Identifier: Apache-2.0
"""Batches under HPO-B's continuous protocol: several configurations are evaluated together in a round."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DataError, InputError
from diffhpo.hpob.protocol import UNIT_TOLERANCE, Run, normalise
from diffhpo.hpob.task import Task

Array = NDArray[np.float64]


class BatchMethod(Protocol):
    """What the batch protocol asks of a method."""

    def suggest_batch(self, X_obs: Array, y_obs: Array, count: int) -> Any:
        """The next `count` configurations, (count, d) in [0, 1].

        Args:
            X_obs: (n, d) configurations so far.
            y_obs: (n, 1) responses in [0, 1], larger is better.
            count: how many.
        """
        ...


def evaluate_batches(method: BatchMethod, task: Task, seed: str, rounds: int, batch: int) -> Run:
    """Run a method in rounds of `batch` configurations, whose responses it sees together.

    Responses are those of `evaluate_continuous`. The curve has an entry for each round: the incumbent of the
    initial evaluations, then the one after each round.

    Args:
        method: what suggests.
        task: where to run; it needs a surrogate.
        seed: name of the initial design.
        rounds: how many, at least 0.
        batch: configurations in a round, at least 1.

    Returns:
        A run of `rounds` + 1 incumbents; `suggest_seconds` has one entry a round.

    Raises:
        InputError: on a bad number, a method without batches, or an answer of another shape or outside the
            cube.
        DataError: if the task has no such initial design, no surrogate or no y_min and y_max.
        DependencyError: if xgboost is not installed.

    Example:
        >>> from diffhpo.baselines import RandomSearch
        >>> from diffhpo.hpob import suite
        >>> task = suite.benchmark("test").task("xgboost", "vehicle")
        >>> run = evaluate_batches(RandomSearch(0), task, "test0", rounds=2, batch=4)
        >>> run.x.shape, len(run.incumbents)
        ((13, 10), 3)
    """
    for name, value, least in (("rounds", rounds, 0), ("batch", batch, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}; a whole number of at least {least} is needed")
    name = type(method).__name__
    if not callable(getattr(method, "suggest_batch", None)):
        raise InputError(f"{name} has no suggest_batch(X_obs, y_obs, count); it cannot be run in batches")
    rows = task.initial(seed)
    surrogate, y_min, y_max = task.surrogate, task.y_min, task.y_max
    x, y = task.x[rows], np.clip(normalise(task.y[rows], y_min, y_max), 0, 1)
    incumbents, seconds = [float(y.max())], []
    for _ in range(rounds):
        start = time.perf_counter()
        answer = method.suggest_batch(x.copy(), y.reshape(-1, 1).copy(), batch)
        seconds.append(time.perf_counter() - start)
        points = _checked(answer, batch, task.dim, name)
        responses = surrogate(points)
        if not np.isfinite(responses).all():
            raise DataError(f"{surrogate.path} predicts values that are not finite; fetch it again")
        x = np.concatenate([x, points])
        y = np.concatenate([y, np.clip(normalise(responses, y_min, y_max), 0, 1)])
        incumbents.append(float(y.max()))
    return Run(incumbents, x, y, seconds)


def _checked(answer: Any, batch: int, dim: int, name: str) -> Array:
    try:
        points = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that needs its graph
        raise InputError(f"{name}.suggest_batch returned no array of numbers: {error}") from None
    if points.shape != (batch, dim):
        raise InputError(
            f"{name}.suggest_batch returned an array of shape {points.shape}; ({batch}, {dim}) is needed"
        )
    # A comparison with nan is false, so this finds nan too.
    if not ((points >= -UNIT_TOLERANCE) & (points <= 1 + UNIT_TOLERANCE)).all():
        raise InputError(f"{name}.suggest_batch returned values outside [0, 1]")
    return points
