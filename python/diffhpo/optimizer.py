# SPDX-License-Identifier: Apache-2.0
"""Ask for configurations, tell their values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffhpo.errors import ExhaustedWarning, InputError, InputWarning
from diffhpo.history import Array, History
from diffhpo.history_policy import HistoryPolicy
from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.policy import Policy, check_seed, initial_design, new_rows
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.space import Space

#: Finite spaces up to this size are listed when samples give no new configuration.
LISTABLE = 4096


@dataclass(frozen=True)
class Suggestion:
    """One configuration to evaluate."""

    id: int
    """Counts from 0 in the order of asking."""
    parameters: dict[str, Any]
    """name -> value, in the space's own units."""


@dataclass
class _Trial:
    unit: Array
    value: float | None = None
    failed: bool = False

    @property
    def pending(self) -> bool:
        return self.value is None and not self.failed


class Optimizer:
    """Ask / tell around a policy.

    Asked and not yet told configurations are pending: they are not proposed again, and the policy knows of
    them. The state changes in `tell`, and in `ask` only by what it returned; a call that raises changes
    nothing.

    Args:
        space: what to search.
        seed: the same seed and the same calls give the same suggestions.
        direction: `"maximize"` or `"minimize"`.
        policy: what proposes; by default `PretrainedPolicy`, told the names and kinds of the parameters, and
            `HistoryPolicy` for spaces of more than 32 dimensions, which the pretrained model does not take.
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
        if direction not in ("maximize", "minimize"):
            raise InputError(f"direction is {direction!r}; accepted: 'maximize', 'minimize'")
        if initial < 0:
            raise InputError(f"initial is {initial}; 0 or more is needed")
        self.space = space
        self.seed = check_seed(seed)
        self.direction = direction
        self.initial = initial
        self.policy: Policy = policy if policy is not None else _default_policy(space, self.seed)
        self._trials: list[_Trial] = []

    @property
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
    def best(self) -> tuple[dict[str, Any], float] | None:
        """The best configuration told so far and its value; None before the first value."""
        told = [trial for trial in self._trials if trial.value is not None]
        if not told:
            return None
        sign = 1.0 if self.direction == "maximize" else -1.0
        winner = max(told, key=lambda trial: sign * (trial.value or 0.0))
        return self.space.decode(winner.unit), float(winner.value or 0.0)

    def ask(self, n: int = 1) -> list[Suggestion]:
        """The next `n` configurations to evaluate, distinct from each other and from all before.

        A finite space that has fewer left gives what it has, with an ExhaustedWarning.

        Raises:
            InputError: if `n` is not a whole number of 0 or more.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise InputError(f"n is {n!r}; a whole number of 0 or more is needed")
        if n == 0:
            return []
        history = self.history
        units = self._design(history, int(n))
        if len(units) < n:
            units = self._extend(history, units, int(n))
        if len(units) < n:
            warnings.warn(
                f"{n} configurations were asked for; the space has {len(units)} that are new",
                ExhaustedWarning,
                stacklevel=2,
            )
        first = len(self._trials)
        self._trials.extend(_Trial(unit) for unit in units)
        return [Suggestion(first + k, self.space.decode(unit)) for k, unit in enumerate(units)]

    def tell(
        self, trial: Suggestion | int | Mapping[str, Any], value: float | None = None, *, failed: bool = False
    ) -> None:
        """Report the value of a configuration, or that its evaluation failed.

        Args:
            trial: a Suggestion, its id, or any configuration of the space, for values from elsewhere.
            value: the objective; infinite values are clipped when the history is read.
            failed: true if there is no value.

        Raises:
            InputError: on an unknown id, a value that is nan or not a number, both or neither of value and
                failed, or a second value for one id that differs from the first.
            SpaceError: if the configuration is not of the space.
        """
        if failed == (value is not None):
            raise InputError(f"value is {value!r} and failed is {failed}; give a value, or failed=True")
        number = None if value is None else _checked_value(value)
        if isinstance(trial, Mapping):
            self._trials.append(_Trial(self.space.encode(trial), number, failed))
            return
        index = trial.id if isinstance(trial, Suggestion) else trial
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise InputError(f"trial is {index!r}; a Suggestion, its id or a configuration is needed")
        if not 0 <= index < len(self._trials):
            raise InputError(f"trial {index} is unknown; ids 0 to {len(self._trials) - 1} were asked for")
        known = self._trials[int(index)]
        if not known.pending:
            if known.value == number and known.failed == failed:
                warnings.warn(f"trial {index} was told the same before", InputWarning, stacklevel=2)
                return
            state = "failed" if known.failed else f"value {known.value}"
            raise InputError(f"trial {index} was told before, as {state}; a trial has one value")
        known.value, known.failed = number, failed

    def _stack(self, units: list[Array]) -> Array:
        return np.stack(units) if units else np.empty((0, self.space.dim))

    def _design(self, history: History, n: int) -> Array:
        """The part of the request that belongs to the initial design."""
        count = min(n, max(0, self.initial - len(self._trials)))
        design = initial_design(self.space.dim, count, start=len(self._trials), seed=self.seed)
        return new_rows(self.space.snap(design), history.seen)

    def _extend(self, history: History, units: Array, n: int) -> Array:
        """Ask the policy for the rest, then, where snapping left too few, for what the space still has."""
        pending = np.concatenate([history.pending, units])
        known = History(history.x, history.y, failed=history.failed, pending=pending)
        proposed = self.policy.suggest(known, n - len(units), snap=self.space.snap)
        units = np.concatenate([units, new_rows(proposed, known.seen)])
        while len(units) < n:
            rest = self._unseen(np.concatenate([history.seen, units]), n - len(units))
            if len(rest) == 0:
                break
            pending = np.concatenate([history.pending, units])
            known = History(history.x, history.y, failed=history.failed, pending=pending)
            units = np.concatenate([units, rest[[self.policy.choose(known, rest)]]])
        return units

    def _unseen(self, seen: Array, count: int) -> Array:
        """Configurations not in `seen`: all of a small finite space, else a quasi-random few."""
        if self.space.size <= LISTABLE:
            return new_rows(self.space.all_units(), seen)
        found = np.empty((0, self.space.dim))
        for attempt in range(64):
            start = len(seen) + 64 * attempt
            points = initial_design(self.space.dim, 64, start=start, seed=self.seed)
            points = new_rows(self.space.snap(points), seen)
            found = np.concatenate([found, new_rows(points, found)])
            if len(found) >= 8 * count:
                break
        return found


def _default_policy(space: Space, seed: int) -> Policy:
    if space.dim > MAX_DIM:
        return HistoryPolicy(seed=seed)
    return PretrainedPolicy(seed=seed, kinds=space.column_kinds, names=space.column_names)


def _checked_value(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"value is {value!r}; a number is needed, or failed=True") from None
    if np.isnan(number):
        raise InputError("value is nan; tell a failed evaluation with failed=True")
    return number
