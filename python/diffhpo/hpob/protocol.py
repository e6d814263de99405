# SPDX-License-Identifier: Apache-2.0
"""The two protocols of HPO-B: what a method is shown, and the curve of incumbents that comes out.

The rules are those of HPO-B's own handler (github.com/machinelearningnuremberg/HPO-B, `hpob_handler.py`):

* A run has five initial evaluations, then `n_trials` suggestions of the method, one at a time.
* Discrete: the responses are min-max normalised over the whole table before the method sees them, and the
  method chooses among the rows that are not yet evaluated. The curve has `n_trials` + 1 entries: the
  incumbent of the initial evaluations, then the one after each trial.
* Continuous: the initial responses are the table's, those of the trials are the surrogate's. Both are
  normalised by the surrogate's y_min and y_max and clipped to [0, 1]. The curve has `n_trials` + 1 entries
  too, but the last one repeats the one before: the handler never adds the last evaluation, so entry 100 of
  a run of 100 trials tells the best of 99. `corrected=True` puts the incumbent after the last evaluation
  there. The discrete curve needs no correction; the argument changes nothing in it.

Where the handler fails, these functions do not: `n_trials=0` gives the one incumbent of the initial
evaluations (the handler's continuous loop raises NameError), and with a constant response, where it divides
by zero, every value that reaches the maximum is 1.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DataError, InputError
from diffhpo.hpob.task import Task

Array = NDArray[np.float64]

#: A suggestion may leave [0, 1] by this much, from rounding in the method's own scaling.
UNIT_TOLERANCE = 1e-6


class Method(Protocol):
    """What HPO-B asks of a method."""

    def observe_and_suggest(self, X_obs: Array, y_obs: Array, X_pen: Array | None = None) -> Any:
        """The next configuration: a row number of `X_pen` or, without a pool, (1, d) numbers in [0, 1].

        Args:
            X_obs: (n, d) configurations so far.
            y_obs: (n, 1) responses in [0, 1], larger is better.
            X_pen: (m, d) configurations to choose from, or None in the continuous protocol.
        """
        ...


@dataclass(frozen=True)
class Run:
    """One run of a method on a task."""

    incumbents: list[float]
    """(n_trials + 1) best normalised response so far; 1 is the optimum."""
    x: Array
    """(5 + n_trials, d) every configuration that was evaluated, the initial ones first."""
    y: Array
    """(5 + n_trials,) their normalised responses, as the method saw them; the last one included."""
    suggest_seconds: list[float] = field(default_factory=list)
    """(n_trials) wall-clock seconds inside `observe_and_suggest`."""
    rows: list[int] | None = None
    """(5 + n_trials) discrete protocol: the table's rows that were evaluated."""


def normalise(y: Array, y_min: float, y_max: float) -> Array:
    """(y - y_min) / (y_max - y_min); with y_min = y_max, 1 where y >= y_max and 0 elsewhere."""
    if y_max > y_min:
        return (y - y_min) / (y_max - y_min)
    return np.where(y >= y_max, 1.0, 0.0)


def evaluate_discrete(
    method: Method,
    task: Task,
    seed: str,
    n_trials: int,
    *,
    corrected: bool = False,
    on_trial: Callable[[int, float], None] | None = None,
) -> Run:
    """Run a method under the discrete protocol.

    Args:
        method: its `observe_and_suggest(X_obs, y_obs, X_pen)` returns a row number of `X_pen`. It gets
            copies and may change them.
        task: where to run.
        seed: name of the initial design, "test0" to "test4" in HPO-B.
        n_trials: suggestions to ask for, at most the rows that the initial design leaves.
        corrected: no effect: the official curve holds every evaluation. It is here for symmetry.
        on_trial: called after each trial with its number, from 0, and the seconds that the method took.

    Raises:
        InputError: if `n_trials` is negative or more than there are rows, or the method returns something
            else than a row number of `X_pen`. The handler would take a negative number, from the end.
        DataError: if the task has no such initial design.

    Example:
        >>> class Last:
        ...     def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        ...         return len(X_pen) - 1
        >>> rows = [[i / 8] for i in range(9)]
        >>> task = Task("demo", "line", rows, range(9), initial={"test0": [0, 1, 2, 3, 4]})
        >>> evaluate_discrete(Last(), task, "test0", 2).incumbents
        [0.5, 1.0, 1.0]
    """
    evaluated = task.initial(seed)
    _check_trials(n_trials)
    left = len(task) - len(evaluated)
    if n_trials > left:
        raise InputError(f"n_trials is {n_trials}; {task} has {left} rows left after its initial ones")
    y = normalise(task.y, float(task.y.min()), float(task.y.max()))
    pending = np.delete(np.arange(len(task)), evaluated)
    incumbents = [float(y[evaluated].max())]
    seconds = []
    for trial in range(n_trials):
        observed = task.x[evaluated], y[evaluated].reshape(-1, 1), task.x[pending]
        start = time.perf_counter()
        answer = method.observe_and_suggest(*observed)
        seconds.append(time.perf_counter() - start)
        chosen = _check_row(answer, len(pending), method)
        evaluated.append(int(pending[chosen]))
        pending = np.delete(pending, chosen)
        incumbents.append(float(y[evaluated].max()))
        if on_trial is not None:
            on_trial(trial, seconds[-1])
    return Run(incumbents, task.x[evaluated], y[evaluated], seconds, evaluated)


def evaluate_continuous(
    method: Method,
    task: Task,
    seed: str,
    n_trials: int,
    *,
    corrected: bool = False,
    on_trial: Callable[[int, float], None] | None = None,
) -> Run:
    """Run a method under the continuous protocol.

    Args:
        method: its `observe_and_suggest(X_obs, y_obs)` returns one configuration, (1, d) or (d,), in
            [0, 1]. It gets copies and may change them.
        task: where to run; it needs a surrogate.
        seed: name of the initial design, "test0" to "test4" in HPO-B.
        n_trials: suggestions to ask for.
        corrected: let the last entry of the curve hold the last evaluation; by default it repeats the
            entry before, as the official handler's does. `Run.y` has the last evaluation either way.
        on_trial: called after each trial with its number, from 0, and the seconds that the method took.

    Raises:
        InputError: if `n_trials` is negative, or the method returns another shape, a value that is not
            finite, or one outside [0, 1] by more than 1e-6. The handler passes all of these on to the
            surrogate, and evaluates several rows as if they were one trial.
        DataError: if the task has no such initial design, no surrogate or no y_min and y_max.
        DependencyError: if xgboost is not installed.
    """
    initial = task.initial(seed)
    _check_trials(n_trials)
    surrogate, y_min, y_max = task.surrogate, task.y_min, task.y_max
    x = np.empty((len(initial) + n_trials, task.dim))
    y = np.empty(len(x))
    x[: len(initial)] = task.x[initial]
    y[: len(initial)] = np.clip(normalise(task.y[initial], y_min, y_max), 0, 1)
    seconds = []
    for trial in range(n_trials):
        n = len(initial) + trial
        observed = x[:n].copy(), y[:n].reshape(-1, 1).copy()
        start = time.perf_counter()
        answer = method.observe_and_suggest(*observed)
        seconds.append(time.perf_counter() - start)
        x[n] = _check_configuration(answer, task.dim, method)
        response = surrogate(x[n : n + 1])
        if not np.isfinite(response).all():
            raise DataError(f"{surrogate.path} predicts {response[0]} at {x[n].tolist()}; fetch it again")
        y[n] = np.clip(normalise(response, y_min, y_max), 0, 1)[0]
        if on_trial is not None:
            on_trial(trial, seconds[-1])
    incumbents = np.maximum.accumulate(y)[len(initial) - 1 :].tolist()
    if n_trials and not corrected:
        incumbents[-1] = incumbents[-2]
    return Run(incumbents, x, y, seconds)


def _check_trials(n_trials: int) -> None:
    if not isinstance(n_trials, int | np.integer) or isinstance(n_trials, bool) or n_trials < 0:
        raise InputError(f"n_trials is {n_trials!r}; a whole number from 0 is needed")


def _check_row(answer: Any, count: int, method: Method) -> int:
    name = f"{type(method).__name__}.observe_and_suggest"
    try:
        row = operator.index(answer)
    except TypeError:
        row = -1
    if isinstance(answer, bool | np.bool_) or not 0 <= row < count:
        raise InputError(f"{name} returned {answer!r}; a row number of X_pen is needed, 0 to {count - 1}")
    return row


def _check_configuration(answer: Any, dim: int, method: Method) -> Array:
    name = f"{type(method).__name__}.observe_and_suggest"
    try:
        x = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that needs its graph
        raise InputError(f"{name} returned no array of numbers: {error}") from None
    if x.shape not in ((1, dim), (dim,)):
        raise InputError(f"{name} returned an array of shape {x.shape}; (1, {dim}) is needed")
    x = x.reshape(dim)
    inside = (x >= -UNIT_TOLERANCE) & (x <= 1 + UNIT_TOLERANCE)
    if not inside.all():
        column = int(np.flatnonzero(~inside)[0])
        raise InputError(f"{name} returned {x[column]} in dimension {column}; values must lie in [0, 1]")
    return x
