# SPDX-License-Identifier: Apache-2.0
"""Evaluating what an optimizer asks for: one after another or several at once, with a progress bar."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.process.deferred_interrupts import deferred_interrupts
from diffhpo.trial import Suggestion, one_number

if TYPE_CHECKING:
    from diffhpo.optimizer import Optimizer

Objective = Callable[[dict[str, Any]], float]


def evaluate(
    optimizer: Optimizer,
    objective: Objective,
    n_trials: int,
    *,
    workers: int,
    executor: Executor | None,
    catch: tuple[type[Exception], ...],
    path: str | os.PathLike[str] | None,
    progress: bool,
) -> None:
    """`Optimizer.run`."""
    left, workers = whole_number(n_trials, "n_trials", least=1), whole_number(workers, "workers", least=1)
    if not callable(objective):
        raise InputError(f"objective is {objective!r}; a function of a configuration is needed")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise InputError(f"executor is {executor!r}; a concurrent.futures.Executor is needed")
    if isinstance(executor, ProcessPoolExecutor):
        _check_can_be_sent(objective)
    if not isinstance(progress, bool):
        raise InputError(f"progress is {progress!r}; True or False is needed")
    catch = _exceptions(catch)
    if path is not None:
        optimizer.save(path)  # a path that cannot be written is told before the first evaluation
    waiting = deque(optimizer.unfinished)

    def following() -> Suggestion | None:
        """A trial whose evaluation was interrupted, or a new one; None when there are enough."""
        nonlocal left
        if left == 0:
            return None
        while waiting:
            place = waiting.popleft()
            if (trial := optimizer.trials[place]).pending:  # it may have been told meanwhile
                left -= 1
                return Suggestion(place, dict(trial.parameters))
        asked = optimizer.ask()
        # An exhausted space has no more, as its warning said.
        left = left - 1 if asked else 0
        optimizer.unfinished += [suggestion.id for suggestion in asked]
        return asked[0] if asked else None

    def finish(suggestion: Suggestion, value: float | None) -> None:
        optimizer.tell(suggestion.id, value, failed=value is None)
        if path is not None:
            optimizer.save(path)
        if optimizer.best is not None:
            bar.set_postfix(best=f"{optimizer.best[1]:.6g}", refresh=False)
        bar.update()

    def value_of(raw: Callable[[], Any], suggestion: Suggestion) -> float | None:
        try:
            returned = raw()
        except (BrokenExecutor, CancelledError):  # says nothing of the configuration
            raise
        except catch:
            return None
        return _number(returned, suggestion)

    with tqdm(total=left, disable=not progress or sys.stderr is None, unit="trial") as bar:
        if workers == 1 and executor is None:
            while (suggestion := following()) is not None:
                finish(suggestion, value_of(partial(objective, dict(suggestion.parameters)), suggestion))
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="objective") if executor is None else executor
        try:
            _at_once(pool, workers, objective, following, value_of, finish)
        finally:
            if executor is None:
                pool.shutdown(wait=False, cancel_futures=True)


def _at_once(
    pool: Executor,
    workers: int,
    objective: Objective,
    following: Callable[[], Suggestion | None],
    value_of: Callable[[Callable[[], Any], Suggestion], float | None],
    finish: Callable[[Suggestion, float | None], None],
) -> None:
    running: dict[Future[float], Suggestion] = {}
    # Told by each future itself: `concurrent.futures.wait` waits for ever for one that was cancelled by
    # `Executor.shutdown(cancel_futures=True)`.
    ended: queue.SimpleQueue[Future[float]] = queue.SimpleQueue()
    while True:
        while len(running) < workers and (suggestion := following()) is not None:
            future = _submitted(pool, objective, suggestion)
            running[future] = suggestion
            with deferred_interrupts():
                future.add_done_callback(ended.put)
        if not running:
            return
        done = [ended.get()]
        while not ended.empty():
            done.append(ended.get())
        failure: BaseException | None = None
        for future in sorted(done, key=lambda one: running[one].id):
            suggestion = running.pop(future)
            try:
                value = value_of(future.result, suggestion)
            except BaseException as error:  # SystemExit too, after the values that came with it
                failure = failure or error
            else:
                finish(suggestion, value)
        if failure is not None:
            for future in running:
                future.cancel()
            raise failure


def _submitted(pool: Executor, objective: Objective, suggestion: Suggestion) -> Future[float]:
    # Another executor's `submit` may wait for long, until a worker is free, and Ctrl-C is to end that.
    at_once = isinstance(pool, (ThreadPoolExecutor, ProcessPoolExecutor))
    try:
        with deferred_interrupts() if at_once else contextlib.nullcontext():
            future = pool.submit(objective, dict(suggestion.parameters))
    except BrokenExecutor:
        raise
    except RuntimeError as error:
        raise InputError(f"executor takes no evaluations: {error}; give one that is not shut down") from error
    if not callable(getattr(future, "add_done_callback", None)):
        raise InputError(
            f"executor's submit returned {future!r}; the Future of a concurrent.futures.Executor is needed"
        )
    return future


def _check_can_be_sent(objective: Objective) -> None:
    try:
        ForkingPickler.dumps(objective)
    except Exception as error:  # whatever a foreign type raises
        raise InputError(
            f"objective is {objective!r}, which cannot be sent to the executor's processes: {error}; define "
            "it at the top level of a module"
        ) from error


def _number(value: Any, suggestion: Suggestion) -> float | None:
    """The objective's value; None for nan, a failure."""
    try:
        number = one_number(value)
    except TypeError:
        raise InputError(
            f"the objective returned {value!r} for {suggestion.parameters!r}; one number is needed, nan for "
            "a failed evaluation"
        ) from None
    return None if math.isnan(number) else number


def _exceptions(catch: Any) -> tuple[type[Exception], ...]:
    """The classes of exceptions that mark a failed trial.

    Raises:
        InputError: on anything else; Ctrl-C and SystemExit are to end a run.
    """
    found = tuple(catch) if isinstance(catch, (tuple, list)) else (catch,)
    for one in found:
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise InputError(f"catch holds {one!r}; classes of Exception are needed, such as (ValueError,)")
    return found
