# SPDX-License-Identifier: Apache-2.0
"""Ask for configurations, tell their values."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from diffhpo.arguments.file_path import file_path
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import (
    AllFailedWarning,
    CheckpointError,
    DimensionWarning,
    ExhaustedWarning,
    InputError,
    InputWarning,
)
from diffhpo.history import Array, History
from diffhpo.history_policy import HistoryPolicy
from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.new_configurations import NewConfigurations
from diffhpo.policy import MOST_ASKED, Policy, check_policy, check_seed, new_rows
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.space import Space
from diffhpo.trial import Suggestion, Trial, check_as_asked, checked_failed, checked_value

if TYPE_CHECKING:
    from diffhpo.optimizer_file import OptimizerState

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass
class _Known:
    """A trial in the unit cube."""

    unit: Array
    value: float | None = None
    failed: bool = False

    @property
    def pending(self) -> bool:
        return self.value is None and not self.failed


def _one_at_a_time(
    method: Callable[Concatenate[Optimizer, _P], _R],
) -> Callable[Concatenate[Optimizer, _P], _R]:
    """A method that one thread at a time is inside of, with all others of this kind."""

    @wraps(method)
    def alone(optimizer: Optimizer, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with optimizer._lock:
            return method(optimizer, *args, **kwargs)

    return alone


class Optimizer:
    """Ask / tell around a policy.

    Asked and not yet told configurations are pending: they are not proposed again, and the policy knows of
    them. The state changes in `tell` and `enqueue`, and in `ask` only by what it returned; a call that raises
    changes nothing. What is asked next is a function of the seed and the trials alone. Calls from several
    threads wait for one another.

    Args:
        space: what to search.
        seed: the same seed and the same calls give the same suggestions.
        direction: `"maximize"` or `"minimize"`.
        policy: what proposes; by default `PretrainedPolicy`, told the names and kinds of the parameters. A
            space of more than 32 columns gets `HistoryPolicy`, which learns from the run alone, with a
            DimensionWarning.
        initial: how many of the first configurations come from a scrambled Sobol sequence.

    Raises:
        InputError: on a bad direction, seed or number.

    Example:
        >>> from diffhpo.space import Float, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0)}), seed=0)
        >>> for suggestion in optimizer.ask(4):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> len(optimizer.history)
        4
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int = 0,
        direction: str = "maximize",
        policy: Policy | None = None,
        initial: int = 5,
    ) -> None:
        if not isinstance(space, Space):
            raise InputError(f"space is {type(space).__name__}; a diffhpo.Space is needed")
        if not isinstance(direction, str) or direction not in ("maximize", "minimize"):
            raise InputError(f"direction is {direction!r}; accepted: 'maximize', 'minimize'")
        self.space = space
        self.seed = check_seed(seed)
        self.direction = direction
        self.initial = whole_number(initial, "initial")
        self.policy: Policy = (
            check_policy(policy) if policy is not None else _default_policy(space, self.seed)
        )
        self._own_policy = policy is not None
        self._trials: list[_Known] = []
        #: Ids of trials whose evaluation `run` began and did not end; the next `run` begins with them.
        self.unfinished: list[int] = []
        self._queue: list[Array] = []
        self._lock = threading.RLock()
        self._running = False

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which have a lock of their own."""
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"} | {
                "_running": False,
                "_trials": [replace(trial) for trial in self._trials],
                "_queue": list(self._queue),
                "unfinished": list(self.unfinished),
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()

    @property
    @_one_at_a_time
    def history(self) -> History:
        """The trials so far in the unit cube, values signed so that larger is better."""
        sign = 1.0 if self.direction == "maximize" else -1.0
        told = [trial for trial in self._trials if trial.value is not None]
        return History(
            self._stack([trial.unit for trial in told]),
            np.array([sign * trial.value for trial in told if trial.value is not None]),
            failed=self._stack([trial.unit for trial in self._trials if trial.failed]),
            pending=self._stack([trial.unit for trial in self._trials if trial.pending]),
        )

    @property
    @_one_at_a_time
    def trials(self) -> list[Trial]:
        """All trials in the order of asking or telling, in the space's own units; their place is their id."""
        return [Trial(self.space.decode(t.unit), t.value, t.failed) for t in self._trials]

    @property
    @_one_at_a_time
    def best(self) -> tuple[dict[str, Any], float] | None:
        """The best configuration told so far and its value; None before the first value."""
        told = [trial for trial in self._trials if trial.value is not None]
        if not told:
            return None
        sign = 1.0 if self.direction == "maximize" else -1.0
        winner = max(told, key=lambda trial: sign * (trial.value or 0.0))
        return self.space.decode(winner.unit), float(winner.value or 0.0)

    @_one_at_a_time
    def ask(self, n: int = 1) -> list[Suggestion]:
        """The next `n` configurations to evaluate, distinct from each other and from all before.

        Configurations of `enqueue` come first. A finite space that has fewer left gives what it has, with an
        ExhaustedWarning; where all trials failed, an AllFailedWarning says that nothing is known.

        Raises:
            InputError: if `n` is not a whole number from 0 to 100,000.
        """
        n = whole_number(n, "n", most=MOST_ASKED)
        if n == 0:
            return []
        history = self.history
        new = NewConfigurations(self.space, self.policy, self.initial, self.seed)
        units = self._stack(self._queue[:n])
        units = np.concatenate([units, new.design(history, units, n)])
        if len(units) < n:
            if len(history) == 0 and len(history.failed) >= max(1, self.initial):
                warnings.warn(
                    f"all {len(history.failed)} trials failed: nothing is known of good configurations, and "
                    "suggestions spread over the space; check the objective, or tell the space what to leave "
                    "out",
                    AllFailedWarning,
                    stacklevel=3,
                )
            units = new.extend(history, units, n)
        if len(units) < n:
            warnings.warn(
                f"{n} configurations were asked for; the space has {len(units)} that are new",
                ExhaustedWarning,
                stacklevel=3,
            )
        first = len(self._trials)
        self._queue = self._queue[n:]
        self._trials.extend(_Known(unit) for unit in units)
        return [Suggestion(first + k, self.space.decode(unit)) for k, unit in enumerate(units)]

    @_one_at_a_time
    def enqueue(self, configurations: Sequence[Mapping[str, Any]]) -> None:
        """Have these configurations asked for next, such as good ones that a user knows of.

        One that is a trial already, or waits already, is passed over.

        Raises:
            InputError: if it is no list of configurations, or one of more than 100,000.
            SpaceError: if one is not of the space; none is taken then.
        """
        if isinstance(configurations, (str, bytes, Mapping)) or not isinstance(configurations, Iterable):
            raise InputError(f"configurations is {configurations!r}; a list of dictionaries is needed")
        given = list(islice(configurations, MOST_ASKED + 1))
        if len(given) > MOST_ASKED:
            raise InputError(f"configurations are more than {MOST_ASKED:,}; give at most so many at once")
        units = [self.space.encode(configuration) for configuration in given]
        known = self._stack([*(trial.unit for trial in self._trials), *self._queue])
        self._queue += list(new_rows(self._stack(units), known))

    @_one_at_a_time
    def tell(
        self,
        trial: Suggestion | int | Mapping[str, Any] | Sequence[Trial],
        value: float | None = None,
        *,
        failed: bool = False,
    ) -> None:
        """Report the value of a configuration, or that its evaluation failed.

        Args:
            trial: a Suggestion, its id, or any configuration of the space, which may be a pending one or have
                its value from elsewhere; or a list of Trials, such as those of an earlier study, of which all
                or none are taken.
            value: the objective; infinite values are clipped when the history is read.
            failed: true if there is no value.

        Raises:
            InputError: on an unknown id, a value that is nan or not a number, both or neither of value and
                failed, a second value for one id that differs from the first, or a Suggestion of another
                optimizer or with other values than were asked for.
            SpaceError: if a configuration is not of the space.
        """
        failed = checked_failed(failed)
        if isinstance(trial, (list, tuple)):
            if value is not None or failed:
                raise InputError("a list of Trials has its values itself; leave value and failed out")
            self._trials += [self._from_elsewhere(one) for one in trial]
            return
        if failed == (value is not None):
            raise InputError(f"value is {value!r} and failed is {failed}; give a value, or failed=True")
        number = None if value is None else checked_value(value)
        if isinstance(trial, Mapping):
            unit = self.space.encode(trial)
            places = (k for k, one in enumerate(self._trials) if one.pending and (one.unit == unit).all())
            if (place := next(places, None)) is None:
                self._trials.append(_Known(unit, number, failed))
                return
            trial = place
        index = trial.id if isinstance(trial, Suggestion) else trial
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise InputError(
                f"trial is {index!r}; a Suggestion, its id, a configuration or a list of Trials is needed"
            )
        if not 0 <= index < len(self._trials):
            known_ids = (
                f"ids 0 to {len(self._trials) - 1} were asked for" if self._trials else "none was asked for"
            )
            raise InputError(f"trial {index} is unknown; {known_ids}")
        known = self._trials[int(index)]
        if isinstance(trial, Suggestion):
            check_as_asked(trial, self.space.decode(known.unit), self.space.parameters)
        if not known.pending:
            if known.value == number and known.failed == failed:
                warnings.warn(f"trial {index} was told the same before", InputWarning, stacklevel=3)
                return
            state = "failed" if known.failed else f"value {known.value}"
            raise InputError(f"trial {index} was told before, as {state}; a trial has one value")
        known.value, known.failed = number, failed
        if index in self.unfinished:
            self.unfinished.remove(index)

    def run(
        self,
        objective: Callable[[dict[str, Any]], float],
        n_trials: int,
        *,
        workers: int = 1,
        executor: Executor | None = None,
        catch: tuple[type[Exception], ...] = (),
        path: str | os.PathLike[str] | None = None,
        progress: bool = True,
    ) -> None:
        """Ask, evaluate and tell until `n_trials` more configurations have a value or failed.

        Ctrl-C, or an exception of the objective, ends the run; what was told is kept, and the next `run`
        begins with what was being evaluated.

        Args:
            objective: parameters -> a number; nan marks a failure.
            n_trials: how many evaluations, at least 1.
            workers: evaluations at once, in threads. With 1 the run is a function of the seed; with more, the
                order in which evaluations end has its part.
            executor: where they run instead of in threads: a ProcessPoolExecutor, a Dask client's, or any
                other `concurrent.futures.Executor`. It is not shut down.
            catch: exceptions of the objective that mark a failed trial; others are raised.
            path: a file that is saved after every value, see `save`; meanwhile `path`.lock keeps other
                processes from it, on POSIX systems. One that exists is replaced if all its values are among
                this optimizer's, as after `load`.
            progress: show a bar on stderr.

        Raises:
            InputError: on a bad number, an objective that returns anything but a number or cannot be sent to
                processes, or an executor that takes no evaluations.
            InputError: from inside of an objective, or of another thread, while a run is going on.
            CheckpointError: if `path` cannot be written: before the first evaluation where that can be known,
                and else after the value was told; or if it is a file of something else, or of values that
                this optimizer was not told.
            RunError: if another process runs on `path`.

        Example:
            >>> from diffhpo.space import Float, Space
            >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0)}), direction="minimize")
            >>> optimizer.run(lambda p: (p["x"] - 0.3) ** 2, 8, progress=False)
            >>> optimizer.best[1] < 0.01
            True
        """
        from diffhpo.evaluation import evaluate
        from diffhpo.optimizer_file import check_replaceable, locked

        with self._only_run(), locked(path):
            if path is not None:
                check_replaceable(path, self._state())
            evaluate(
                self,
                objective,
                n_trials,
                workers=workers,
                executor=executor,
                catch=catch,
                path=path,
                progress=progress,
            )

    @classmethod
    def minimize(
        cls,
        objective: Callable[[dict[str, Any]], float],
        space: Space,
        n_trials: int = 50,
        *,
        seed: int = 0,
        workers: int = 1,
        executor: Executor | None = None,
        catch: tuple[type[Exception], ...] = (),
        path: str | os.PathLike[str] | None = None,
        progress: bool = True,
    ) -> Optimizer:
        """Minimise a function in one call; the optimizer that is returned has `best` and `trials`.

        Args:
            objective: parameters -> a number; nan marks a failure.
            space: what to search.
            n_trials: evaluations in all, those of a continued file included.
            seed: see `Optimizer`.
            workers: see `run`.
            executor: see `run`.
            catch: see `run`.
            path: a file that is saved after every value; one that exists is continued.
            progress: show a bar on stderr.

        Raises:
            InputError: as `run`.
            CheckpointError: if the file cannot be read or written, or is of another space, seed or direction.
            RunError: if another process runs on the file.

        Example:
            >>> from diffhpo.space import Float, Space
            >>> space = Space({"x": Float(-1.0, 1.0)})
            >>> found = Optimizer.minimize(lambda p: (p["x"] - 0.3) ** 2, space, 8, progress=False)
            >>> round(found.best[0]["x"], 1)
            0.3
        """
        how = {"workers": workers, "executor": executor, "catch": catch, "path": path, "progress": progress}
        return cls._until(objective, n_trials, (space, seed, "minimize"), how)

    @classmethod
    def maximize(
        cls,
        objective: Callable[[dict[str, Any]], float],
        space: Space,
        n_trials: int = 50,
        *,
        seed: int = 0,
        workers: int = 1,
        executor: Executor | None = None,
        catch: tuple[type[Exception], ...] = (),
        path: str | os.PathLike[str] | None = None,
        progress: bool = True,
    ) -> Optimizer:
        """Maximise a function in one call; see `minimize`."""
        how = {"workers": workers, "executor": executor, "catch": catch, "path": path, "progress": progress}
        return cls._until(objective, n_trials, (space, seed, "maximize"), how)

    @_one_at_a_time
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trials, the queue, the space, the seed and the direction to one file (safetensors).

        A policy that was given is not written, nor is a `forbidden` function: `load` takes them again.

        Raises:
            CheckpointError: if the file cannot be written.

        Example:
            >>> import tempfile
            >>> from diffhpo.space import Int, Space
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     optimizer = Optimizer(Space({"depth": Int(1, 8)}), seed=3)
            ...     optimizer.tell({"depth": 2}, 0.5)
            ...     optimizer.save(folder + "/run.safetensors")
            ...     Optimizer.load(folder + "/run.safetensors").best
            ({'depth': 2}, 0.5)
        """
        from diffhpo.optimizer_file import write_state

        write_state(path, self.space, self._state())

    @_one_at_a_time
    def _state(self) -> OptimizerState:
        """What `save` writes."""
        from diffhpo.optimizer_file import OptimizerState

        return OptimizerState(
            units=self._stack([trial.unit for trial in self._trials]),
            values=np.array([t.value or 0.0 for t in self._trials]),
            told=np.array([t.value is not None for t in self._trials], dtype=bool),
            failed=np.array([trial.failed for trial in self._trials], dtype=bool),
            queue=self._stack(self._queue),
            seed=self.seed,
            direction=self.direction,
            initial=self.initial,
            own_policy=self._own_policy,
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        space: Space | None = None,
        policy: Policy | None = None,
    ) -> Optimizer:
        """The optimizer that `save` wrote; it goes on as if there had been no break.

        Args:
            path: the file.
            space: needed where the space has a `forbidden` function or choices that JSON cannot hold.
            policy: needed where the optimizer had been given one.

        Raises:
            InputError: if `space` is no Space or `policy` no policy.
            CheckpointError: if the file is missing, damaged, of a later version or of another space, or lacks
                what must then be given.
        """
        from diffhpo.optimizer_file import read_state

        if not (space is None or isinstance(space, Space)):
            raise InputError(f"space is {type(space).__name__}; a diffhpo.Space is needed")
        if policy is not None:
            check_policy(policy)
        space, state = read_state(path, space, policy_given=policy is not None)
        try:
            optimizer = cls(
                space, seed=state.seed, direction=state.direction, policy=policy, initial=state.initial
            )
        except InputError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        optimizer._trials = [
            _Known(unit, float(value) if told else None, bool(failed))
            for unit, value, told, failed in zip(
                state.units, state.values, state.told, state.failed, strict=True
            )
        ]
        optimizer._queue = list(state.queue)
        return optimizer

    @classmethod
    def _started(
        cls, space: Space, seed: int, direction: str, path: str | os.PathLike[str] | None
    ) -> Optimizer:
        """A new optimizer, or the one of an existing file."""
        if path is None or not os.path.exists(file_path(path)):
            return cls(space, seed=seed, direction=direction)
        found = cls.load(path, space=space)
        if (found.seed, found.direction) != (seed, direction):
            raise CheckpointError(
                f"{path} is a run with seed {found.seed} and direction {found.direction!r}, not {seed} and "
                f"{direction!r}; give those, or another path"
            )
        found.unfinished = [place for place, trial in enumerate(found._trials) if trial.pending]
        return found

    @classmethod
    def _until(
        cls,
        objective: Callable[[dict[str, Any]], float],
        n_trials: int,
        what: tuple[Space, int, str],
        how: dict[str, Any],
    ) -> Optimizer:
        """Run until there are `n_trials` trials with a value or a failure, those of the file included."""
        from diffhpo.evaluation import evaluate
        from diffhpo.optimizer_file import locked

        with locked(how["path"]):  # before the file is read: another process may be about to replace it
            optimizer = cls._started(*what, how["path"])
            left = whole_number(n_trials, "n_trials") - sum(not trial.pending for trial in optimizer._trials)
            if left > 0:
                evaluate(optimizer, objective, left, **how)
        return optimizer

    @contextmanager
    def _only_run(self) -> Iterator[None]:
        """Raise an InputError while another `run` of this optimizer is going on."""
        with self._lock:
            if self._running:
                raise InputError("run is called while a run of this optimizer is going on; see workers")
            self._running = True
        try:
            yield
        finally:
            self._running = False

    def _from_elsewhere(self, trial: Trial) -> _Known:
        if not isinstance(trial, Trial):
            raise InputError(f"the list holds {trial!r}; Trials are needed")
        return _Known(self.space.encode(trial.parameters), trial.value, trial.failed)

    def _stack(self, units: Sequence[Array]) -> Array:
        return np.stack(units) if len(units) else np.empty((0, self.space.dim))


def _default_policy(space: Space, seed: int) -> Policy:
    if space.dim <= MAX_DIM:
        return PretrainedPolicy(
            seed=seed, kinds=space.column_kinds, names=space.column_names, steps=space.column_steps
        )
    warnings.warn(
        f"the space has {space.dim} columns and the pretrained model takes {MAX_DIM}: HistoryPolicy, which "
        "learns from this run alone and takes longer, searches it; fewer parameters, or fewer choices of "
        "categorical ones, are searched better",
        DimensionWarning,
        stacklevel=3,
    )
    return HistoryPolicy(seed=seed)
