# SPDX-License-Identifier: Apache-2.0
"""A search space: parameters, conditions and forbidden combinations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import SpaceError
from diffhpo.space import json_form
from diffhpo.space.combinations import combinations, product
from diffhpo.space.condition import Condition
from diffhpo.space.parameter import Array, Parameter, check_points

#: Dimensions of the unit cube above which no model of this package was tried.
MAX_DIM = 1000
#: Combinations of the values of parents up to which a space's size is counted exactly.
COUNTABLE = 100_000
#: Configurations that `sample` and `all_units` make in one call; more would fill the memory.
MOST_LISTED = 1_000_000


class Space:
    """Named parameters, in order, and their map to the unit cube [0, 1]^d.

    A configuration is a dictionary of the active parameters: one whose conditions do not hold is absent. In
    the cube its columns then stand at a fixed place, in the middle.

    Args:
        parameters: name -> Float, Int, Categorical, Ordinal or Constant.
        conditions: name -> the Condition, or the Conditions that must all hold, for it to be active; others
            always are.
        forbidden: tells of a configuration whether it must not be proposed. It is called often: keep it
            short.

    Raises:
        SpaceError: if there is no parameter to search, a name is not a string, a condition is on an unknown
            or real parameter, on values that it lacks, or on itself in the end, or the cube has more than
            1000 dimensions.

    Example:
        >>> from diffhpo.space import Categorical, Float, Int
        >>> space = Space(
        ...     {
        ...         "lr": Float(1e-4, 1.0, log=True),
        ...         "kind": Categorical(["linear", "tree"]),
        ...         "depth": Int(1, 8),
        ...     },
        ...     conditions={"depth": Condition("kind", ["tree"])},
        ... )
        >>> space.decode(np.array([1.0, 1.0, 0.5]))
        {'lr': 1.0, 'kind': 'tree', 'depth': 5}
        >>> space.decode(np.array([1.0, 0.0, 0.5]))
        {'lr': 1.0, 'kind': 'linear'}
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        conditions: Mapping[str, Condition | Sequence[Condition]] | None = None,
        forbidden: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        for argument, given in (("parameters", parameters), ("conditions", conditions or {})):
            if given is not None and not isinstance(given, Mapping):
                raise SpaceError(f"{argument} is a {type(given).__name__}; a dictionary by name is needed")
        if not parameters:
            raise SpaceError("the space has no parameter; at least one is needed")
        for name, parameter in parameters.items():
            if not isinstance(name, str) or not isinstance(parameter, Parameter):
                raise SpaceError(
                    f"parameter {name!r} is {type(parameter).__name__}; a string name and a Float, Int, "
                    "Categorical, Ordinal or Constant are needed"
                )
        if forbidden is not None and not callable(forbidden):
            raise SpaceError(f"forbidden is {forbidden!r}; a function of a configuration is needed")
        self.parameters: dict[str, Parameter] = dict(parameters)
        self.conditions: dict[str, tuple[Condition, ...]] = {
            name: tuple(given) if isinstance(given, Sequence) else (given,)
            for name, given in (conditions or {}).items()
        }
        self.forbidden = forbidden
        self.dim = sum(parameter.width for parameter in self.parameters.values())
        if self.dim == 0:
            raise SpaceError("the space has constants only; there is nothing to search")
        if self.dim > MAX_DIM:
            raise SpaceError(f"the space has {self.dim} dimensions; at most {MAX_DIM} are supported")
        self._slices: dict[str, slice] = {}
        start = 0
        for name, parameter in self.parameters.items():
            self._slices[name] = slice(start, start + parameter.width)
            start += parameter.width
        self._places = self._checked_conditions()
        self._order = self._parents_first()

    def __repr__(self) -> str:
        parts = [f"{self.parameters!r}"]
        if self.conditions:
            parts.append(f"conditions={self.conditions!r}")
        if self.forbidden is not None:
            parts.append(f"forbidden={self.forbidden!r}")
        return f"Space({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        mine, theirs = ((list(s.parameters.items()), s.conditions, s.forbidden) for s in (self, other))
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]

    @property
    def column_names(self) -> list[str]:
        """The parameter that each of the d columns belongs to."""
        return [name for name, parameter in self.parameters.items() for _ in range(parameter.width)]

    @property
    def column_kinds(self) -> list[int]:
        """Of each column: 0 real, 1 ordered levels, 2 one choice of a categorical parameter.

        Example:
            >>> from diffhpo.space import Categorical, Float, Int
            >>> Space({"lr": Float(0, 1), "depth": Int(1, 8), "kernel": Categorical("abc")}).column_kinds
            [0, 1, 2, 2, 2]
        """
        return [p.kind for p in self.parameters.values() for _ in range(p.width)]

    @property
    def column_steps(self) -> list[float]:
        """Of each column the distance between neighbouring values; 0 where it is real.

        Example:
            >>> from diffhpo.space import Float, Int
            >>> Space({"lr": Float(0, 1), "depth": Int(1, 8)}).column_steps
            [0.0, 0.125]
        """
        return [
            p.unit_step if math.isfinite(p.size) else 0.0
            for p in self.parameters.values()
            for _ in range(p.width)
        ]

    @property
    def size(self) -> float:
        """How many different configurations there are, forbidden ones included; inf with a real parameter.

        Where more than 100,000 combinations of parents would have to be looked through, an upper bound.
        """
        parents = self._parents()
        if product(self.parameters[name].size for name in parents) > COUNTABLE:
            return product(parameter.size for parameter in self.parameters.values())
        free = [name for name in self._order if name not in parents]
        found = combinations([name for name in self._order if name in parents], self.parameters, self._active)
        sizes = [
            product(self.parameters[name].size for name in free if self._active(name, one)) for one in found
        ]
        return math.inf if math.inf in sizes else sum(sizes)

    def encode(self, configuration: Mapping[str, Any]) -> Array:
        """A configuration -> (d,) in [0, 1].

        Raises:
            SpaceError: on a missing, unknown or inactive name, a value outside, or a forbidden configuration;
                the message names it.
        """
        if not isinstance(configuration, Mapping):
            raise SpaceError(f"configuration is {configuration!r}; a dictionary name -> value is needed")
        missing: list[str] = []
        inactive: list[str] = []
        unit = np.empty(self.dim)
        for name in self._order:
            parameter, active = self.parameters[name], self._active(name, configuration)
            if active and name in configuration:
                try:
                    unit[self._slices[name]] = parameter.encode(configuration[name])
                except SpaceError as error:
                    raise SpaceError(f"parameter {name!r}: {error}") from None
                continue
            unit[self._slices[name]] = parameter.inactive
            (missing if active else inactive if name in configuration else []).append(name)
        unknown = sorted(str(name) for name in configuration if name not in self.parameters)
        if missing or unknown:
            raise SpaceError(f"configuration lacks {sorted(missing)} and has unknown {unknown}")
        if inactive:
            raise SpaceError(
                f"configuration has {sorted(inactive)}, which are not active in it; leave them out"
            )
        if not self.allows(dict(configuration)):
            raise SpaceError(f"configuration {dict(configuration)!r} is forbidden")
        return unit

    def decode(self, unit: Array) -> dict[str, Any]:
        """(d,) in [0, 1] -> a configuration, every value inside its parameter's range.

        Raises:
            SpaceError: on another shape, or numbers outside of [0, 1].
        """
        return self._decoded(check_points(unit, "unit", (self.dim,)))

    def _decoded(self, unit: Array) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self._order:
            if self._active(name, found):
                found[name] = self.parameters[name].decode(unit[self._slices[name]])
        return {name: found[name] for name in self.parameters if name in found}

    def snap(self, units: Array) -> Array:
        """(n, d) in [0, 1] -> (m, d), each row moved to the point that stands for its configuration.

        Rows whose configuration is forbidden are left out, so m may be smaller than n.

        Raises:
            SpaceError: on another shape, or numbers outside of [0, 1].
        """
        units = check_points(units, "units", (None, self.dim))
        active = self.active(units)
        for name, parameter in self.parameters.items():
            columns = self._slices[name]
            units[:, columns] = np.where(
                active[:, columns], parameter.snap(units[:, columns]), parameter.inactive
            )
        if self.forbidden is None:
            return units
        return units[[self.allows(self._decoded(row)) for row in units]]

    def active(self, units: Array) -> NDArray[np.bool_]:
        """(n, d) in [0, 1] -> (n, d): which columns belong to a parameter that has a value.

        Example:
            >>> from diffhpo.space import Categorical, Int
            >>> space = Space(
            ...     {"kind": Categorical(["linear", "tree"]), "depth": Int(1, 8)},
            ...     conditions={"depth": Condition("kind", ["tree"])},
            ... )
            >>> space.active(np.array([[0.0, 0.3], [1.0, 0.3]])).tolist()
            [[True, False], [True, True]]

        Raises:
            SpaceError: on another shape, or numbers outside of [0, 1].
        """
        units = check_points(units, "units", (None, self.dim))
        columns = np.ones(units.shape, dtype=bool)
        rows: dict[str, NDArray[np.bool_]] = {}
        for name in self._order:
            rows[name] = np.ones(len(units), dtype=bool)
            for parent, places in self._places.get(name, ()):
                level = self.parameters[parent].level(units[:, self._slices[parent]])
                rows[name] &= rows[parent] & np.isin(level, places)
            columns[:, self._slices[name]] = rows[name][:, None]
        return columns

    def allows(self, configuration: dict[str, Any]) -> bool:
        """Whether a configuration is not forbidden.

        Raises:
            SpaceError: if `forbidden` itself fails; the message has the configuration.
        """
        if self.forbidden is None:
            return True
        try:
            return not self.forbidden(dict(configuration))  # it may change what it is given
        except Exception as error:
            raise SpaceError(
                f"forbidden failed for {configuration!r} with {type(error).__name__}: {error}; it is called "
                "with configurations that have the active parameters only"
            ) from error

    def sample(self, n: int, *, seed: int = 0) -> list[dict[str, Any]]:
        """`n` configurations drawn uniformly over the cube; they may repeat.

        Args:
            n: at most 1,000,000.
            seed: the same seed gives the same configurations.

        Raises:
            InputError: if `n` or `seed` is not a whole number of 0 or more, or `n` is larger than that.
            SpaceError: if so many are forbidden that they are not found in 1000 n draws.

        Example:
            >>> from diffhpo.space import Int
            >>> Space({"depth": Int(1, 8)}).sample(3, seed=0)
            [{'depth': 6}, {'depth': 3}, {'depth': 1}]
        """
        n = whole_number(n, "n", most=MOST_LISTED)
        rng = np.random.default_rng(whole_number(seed, "seed"))
        found: list[dict[str, Any]] = []
        for _ in range(1000):
            if len(found) >= n:
                break
            found.extend(self._decoded(row) for row in self.snap(rng.random((n, self.dim))))
        if len(found) < n:
            raise SpaceError(
                f"{len(found)} of {n} configurations were found; `forbidden` rules out the others"
            )
        return found[:n]

    def all_units(self) -> Array:
        """Every configuration of a finite space that is not forbidden, as a point; (m, d).

        Raises:
            SpaceError: if the space is infinite, or has more than 1,000,000 configurations.
        """
        size = self.size
        if not size < math.inf:
            raise SpaceError("the space has a Float without a step; its configurations cannot be listed")
        if size > MOST_LISTED:
            raise SpaceError(f"the space has more than {MOST_LISTED:,} configurations, too many to be listed")
        found = combinations(self._order, self.parameters, self._active)
        rows = [self.encode(one) for one in found if self.allows(one)]
        return np.array(rows).reshape(-1, self.dim)

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values, for `from_json`; see `diffhpo.space.json_form`.

        Raises:
            SpaceError: if it has a choice that JSON lacks, or a `forbidden`, which is a function.
        """
        return json_form.to_json(self)

    @classmethod
    def from_json(cls, content: Any) -> Space:
        """The space that `to_json` wrote, or a user.

        Raises:
            SpaceError: if an entry is not well formed; the message names the parameter.

        Example:
            >>> Space.from_json({"lr": {"type": "float", "low": 1e-4, "high": 1, "log": True}}).dim
            1
        """
        return json_form.from_json(content)

    def _active(self, name: str, configuration: Mapping[str, Any]) -> bool:
        return all(condition.holds(configuration) for condition in self.conditions.get(name, ()))

    def _parents(self) -> set[str]:
        return {condition.parent for given in self.conditions.values() for condition in given}

    def _checked_conditions(self) -> dict[str, list[tuple[str, list[int]]]]:
        """Of each conditional parameter: its parents and the places of the values that it needs."""
        found: dict[str, list[tuple[str, list[int]]]] = {}
        for name, given in self.conditions.items():
            if name not in self.parameters:
                raise SpaceError(
                    f"conditions has {name!r}, which is not a parameter: {list(self.parameters)}"
                )
            for condition in given:
                if not isinstance(condition, Condition):
                    raise SpaceError(f"conditions[{name!r}] holds {condition!r}; a Condition is needed")
                if condition.parent not in self.parameters:
                    raise SpaceError(
                        f"conditions[{name!r}] is on {condition.parent!r}, which is not a parameter: "
                        f"{list(self.parameters)}"
                    )
                parent = self.parameters[condition.parent]
                if not math.isfinite(parent.size):
                    raise SpaceError(
                        f"conditions[{name!r}] is on {condition.parent!r}, a real parameter; use an Int, a "
                        "Categorical, an Ordinal or a Float with a step"
                    )
                try:
                    units = np.stack([parent.encode(value) for value in condition.values])
                except SpaceError as error:
                    raise SpaceError(f"conditions[{name!r}] on {condition.parent!r}: {error}") from None
                found.setdefault(name, []).append((condition.parent, parent.level(units).tolist()))
        return found

    def _parents_first(self) -> list[str]:
        order: dict[str, None] = {}
        waiting = list(self.parameters)
        while waiting:
            ready = [
                name
                for name in waiting
                if all(condition.parent in order for condition in self.conditions.get(name, ()))
            ]
            if not ready:
                raise SpaceError(f"the conditions of {waiting} depend on one another in a circle")
            order |= dict.fromkeys(ready)
            waiting = [name for name in waiting if name not in order]
        return list(order)
