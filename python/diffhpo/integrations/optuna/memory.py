# SPDX-License-Identifier: Apache-2.0
"""What a sampler need not work out again; without it suggestions are the same, and slower in long studies."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from diffhpo.integrations.optuna.groups import Group, internal_value
from diffhpo.integrations.optuna.trials import proposal
from diffhpo.space import Space
from diffhpo.space.parameter import Array

#: name -> value; a choice of a categorical parameter is its index.
Values: TypeAlias = dict[str, float | int]

#: Groups change with the trials; so many of the latest are kept.
MOST_SPACES = 64


class RememberingSpace(Space):
    """The Space of a group, that looks at a trial's values once.

    Example:
        >>> from diffhpo.space import Int
        >>> space = RememberingSpace({"depth": Int(1, 8)})
        >>> space.encode({"depth": 8}) is space.encode({"depth": 8})
        True
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._encoded: dict[Hashable, Array] = {}
        self._parts: dict[Hashable, Values | None] = {}

    def part(self, group: Group, values: Values) -> Values | None:
        """`group.part(values)`, of the group whose space this is."""
        key = frozenset(values.items())
        if key not in self._parts:
            self._parts[key] = group.part(values)
        return self._parts[key]

    def encode(self, configuration: Mapping[str, Any]) -> Array:
        """A configuration -> (d,) in [0, 1], read-only; as `Space.encode`."""
        key = frozenset(configuration.items())
        found = self._encoded.get(key)
        if found is None:
            found = super().encode(configuration)
            found.setflags(write=False)
            self._encoded[key] = found
        return found


class Memory:
    """Values of finished trials, which never change, and spaces of groups.

    Workers of one process may share it.
    """

    def __init__(self) -> None:
        self._values: weakref.WeakKeyDictionary[Any, dict[tuple[int, int], Values]] = (
            weakref.WeakKeyDictionary()
        )
        self._spaces: dict[Hashable, RememberingSpace] = {}

    def __reduce__(self) -> tuple[Callable[[], Memory], tuple[()]]:
        """A copy, in another process too, begins empty."""
        return Memory, ()

    def values(self, storage: object, study_id: int, trial: FrozenTrial) -> Values:
        """The trial's parameters, a choice as its index; not to be changed."""
        if not trial.state.is_finished():
            return _values(trial)
        of_storage = self._values.setdefault(storage, {})
        key = (study_id, trial.number)
        if key not in of_storage:
            of_storage[key] = _values(trial)
        return of_storage[key]

    def space(self, group: Group) -> RememberingSpace:
        """The group as a Space; a choice of a categorical parameter is its index."""
        key = (tuple(group.distributions.items()), tuple(group.conditions.items()))
        found = self._spaces.pop(key, None) or RememberingSpace(group.parameters(), dict(group.conditions))
        self._spaces[key] = found
        while len(self._spaces) > MOST_SPACES:
            self._spaces.pop(next(iter(self._spaces)), None)
        return found


def _values(trial: FrozenTrial) -> Values:
    own: Mapping[str, BaseDistribution] = trial.distributions
    found = {name: internal_value(own[name], value) for name, value in trial.params.items()}
    # Of choices that are equal to each other, as 1 and True are, Optuna stores the first.
    for name, place in proposal(trial).items():
        kept = own.get(name)
        if (
            isinstance(kept, CategoricalDistribution)
            and place in range(len(kept.choices))
            and kept.choices[int(place)] == trial.params.get(name)
        ):
            found[name] = int(place)
    return found
