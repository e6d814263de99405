# SPDX-License-Identifier: Apache-2.0
"""What the pictures of a run are drawn from: a space, trials in their order, and which values are better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.optimizer import Optimizer
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.space import Space
from diffhpo.trial import Trial

Array = NDArray[np.float64]

#: What became of a trial.
STATES = ("told", "failed", "pruned", "pending")


@dataclass(frozen=True)
class PicturedRun:
    """Trials of one run, in the user's own units and in the order in which they were told.

    Args:
        space: the parameters. A configuration may lack those that are inactive in it.
        configurations: n dictionaries, name -> value.
        values: (n,) the objective; nan where there is none.
        states: n of "told", "failed", "pruned", "pending". A pruned trial may have a value, which is drawn
            but never the best, and the model does not read it.
        direction: "maximize" or "minimize".
        seed: of the pretrained policy.
        policy: whose model the model's pictures ask; by default the package's own, told the names and kinds
            of the space.

    Raises:
        InputError: if lengths differ, a state or the direction is unknown, or a trial that was told has no
            finite or infinite value.

    Example:
        >>> from diffhpo.space import Float
        >>> run = PicturedRun(Space({"x": Float(0, 1)}), [{"x": 0.2}, {"x": 0.7}], [3.0, 2.0],
        ...                   ["told", "told"], "minimize")
        >>> run.best, run.incumbent.tolist()
        (1, [3.0, 2.0])
    """

    space: Space
    configurations: Sequence[Mapping[str, Any]]
    values: Sequence[float] | Array
    states: Sequence[str]
    direction: str = "maximize"
    seed: int = 0
    policy: PretrainedPolicy | None = None

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64).reshape(-1)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        lengths = {len(self.configurations), len(values), len(self.states)}
        if len(lengths) != 1:
            raise InputError(
                f"there are {len(self.configurations)} configurations, {len(values)} values and "
                f"{len(self.states)} states; give one of each for every trial"
            )
        unknown = set(self.states) - set(STATES)
        if unknown:
            raise InputError(f"states has {sorted(unknown)}; accepted: {', '.join(STATES)}")
        if self.direction not in ("maximize", "minimize"):
            raise InputError(f"direction is {self.direction!r}; accepted: 'maximize', 'minimize'")
        if np.isnan(values[self.told]).any():
            raise InputError("a trial that was told has the value nan; its state is 'failed'")

    @classmethod
    def of(cls, run: PicturedRun | Optimizer) -> PicturedRun:
        """The trials of an optimizer, in the order of asking or telling.

        Raises:
            InputError: if `run` is neither an Optimizer nor a PicturedRun.
        """
        if isinstance(run, PicturedRun):
            return run
        if not isinstance(run, Optimizer):
            raise InputError(f"run is {type(run).__name__}; an Optimizer or a PicturedRun is needed")
        drawn = cls.from_trials(run.space, run.trials, run.direction, seed=run.seed)
        return replace(drawn, policy=run.policy) if isinstance(run.policy, PretrainedPolicy) else drawn

    @classmethod
    def from_trials(
        cls, space: Space, trials: Sequence[Trial], direction: str = "maximize", *, seed: int = 0
    ) -> PicturedRun:
        """A run of a space and its trials, in their order.

        Raises:
            InputError: on an unknown direction.
        """
        return cls(
            space,
            [trial.parameters for trial in trials],
            [np.nan if trial.value is None else trial.value for trial in trials],
            ["failed" if t.failed else "pending" if t.pending else "told" for t in trials],
            direction,
            seed,
        )

    @property
    def told(self) -> NDArray[np.bool_]:
        """(n,) which trials have a value that counts."""
        return self.in_state("told")

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """(n,) which trials are in a state."""
        return np.array([one == state for one in self.states], dtype=bool)

    @property
    def sign(self) -> float:
        """Times this, larger values are better."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def best(self) -> int | None:
        """The place of the best trial, the first of equals; None before the first value."""
        if not self.told.any():
            return None
        return int(np.where(self.told, self.sign * self._array, -np.inf).argmax())

    @property
    def incumbent(self) -> Array:
        """(n,) the best value up to and with each trial; nan before the first."""
        gains = np.where(self.told, self.sign * self._array, -np.inf)
        best = np.maximum.accumulate(gains) if len(gains) else gains
        return np.where(np.logical_or.accumulate(self.told), self.sign * best, np.nan) if len(best) else best

    @property
    def _array(self) -> Array:
        values: Array = np.asarray(self.values)
        return values

    def modelled(self) -> PicturedRun:
        """The run as a model can read it.

        A space with conditions is one. Of another, whose trials may still lack parameters, those parameters
        are kept that every trial with a value has.

        Raises:
            InputError: if no trial has a value, or no parameter is in all of them.
        """
        told = [c for c, one in zip(self.configurations, self.told, strict=True) if one]
        if not told:
            raise InputError("no trial has a value; there is nothing that a model could read")
        if self.space.conditions:
            return self
        names = [name for name in self.space.parameters if all(name in c for c in told)]
        if not any(self.space.parameters[name].width for name in names):
            raise InputError("no parameter is in every trial; there is no space that a model could read")
        if len(names) == len(self.space.parameters):
            return self
        space = Space({name: self.space.parameters[name] for name in names})
        whole = [all(name in c for name in names) for c in self.configurations]
        return replace(
            self,
            space=space,
            policy=None,
            configurations=[
                {name: c[name] for name in names} if one else {}
                for c, one in zip(self.configurations, whole, strict=True)
            ],
            states=[state if one else "pruned" for state, one in zip(self.states, whole, strict=True)],
        )

    @cached_property
    def history(self) -> History:
        """The trials in the unit cube, larger is better; pruned ones are left out.

        Raises:
            SpaceError: if a configuration is not of the space.
        """
        rows = {state: self.in_state(state) for state in STATES}
        return History(
            self.units(rows["told"]),
            self.sign * self._array[rows["told"]],
            failed=self.units(rows["failed"]),
            pending=self.units(rows["pending"]),
        )

    def units(self, chosen: NDArray[np.bool_]) -> Array:
        """(k, d) the chosen trials in the unit cube."""
        points = [self.space.encode(c) for c, one in zip(self.configurations, chosen, strict=True) if one]
        return np.stack(points) if points else np.empty((0, self.space.dim))

    @property
    def reader(self) -> PretrainedPolicy:
        """The policy whose model is asked."""
        if self.policy is not None:
            return self.policy
        return PretrainedPolicy(
            seed=self.seed,
            names=self.space.column_names,
            kinds=self.space.column_kinds,
            steps=self.space.column_steps,
        )

    def read(self) -> InContextModel:
        """The pretrained model with the trials in context.

        Raises:
            InputError: if no trial has a value, or the space has more columns than the model takes.
        """
        if not self.told.any():
            raise InputError("no trial has a value; the model has nothing to read: tell one first")
        return self.reader.read(self.history)
