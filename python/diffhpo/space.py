# SPDX-License-Identifier: Apache-2.0
"""Search spaces: named parameters and their map to the unit cube and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import SpaceError

Array = NDArray[np.float64]
Value: TypeAlias = float | int | str | bool | None

#: Dimensions of the unit cube above which no model of this package was tried.
MAX_DIM = 64


def _check_bounds(kind: str, low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SpaceError(f"{kind}({low}, {high}): finite bounds with low < high are needed")
    if log and low <= 0:
        raise SpaceError(f"{kind}({low}, {high}, log=True): a log scale needs low > 0")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise SpaceError(f"{value!r} is not a number")
    return float(value)


@dataclass(frozen=True)
class Float:
    """A real parameter in [low, high]; `log` spaces it evenly in log(value).

    Example:
        >>> round(Float(1e-4, 1.0, log=True).decode(np.array([0.5])), 9)
        0.01
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds("Float", self.low, self.high, self.log)

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1

    @property
    def size(self) -> float:
        """How many different values there are."""
        return math.inf

    @property
    def _axis(self) -> tuple[float, float]:
        """The bounds on the scale that is cut evenly."""
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def encode(self, value: Any) -> Array:
        """A value -> (1,) in [0, 1]."""
        number = _number(value)
        if not self.low <= number <= self.high:
            raise SpaceError(f"{value!r} is outside [{self.low}, {self.high}]")
        low, high = self._axis
        position = (math.log(number) if self.log else number) / (high - low) - low / (high - low)
        return np.array([min(max(position, 0.0), 1.0)])

    def decode(self, unit: Array) -> float:
        """(1,) in [0, 1] -> a value."""
        u = float(unit[0])
        low, high = self._axis
        position = low * (1 - u) + high * u
        value = math.exp(position) if self.log else position
        # Rounding may leave the interval by one unit in the last place.
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Int:
    """A whole number in [low, high]; every value owns an equal share of the (log) axis.

    Example:
        >>> [Int(1, 3).decode(np.array([u])) for u in (0.0, 0.5, 1.0)]
        [1, 2, 3]
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if int(self.low) != self.low or int(self.high) != self.high:
            raise SpaceError(f"Int({self.low}, {self.high}): the bounds must be whole numbers")
        _check_bounds("Int", self.low, self.high, self.log)

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1

    @property
    def size(self) -> float:
        """How many different values there are."""
        return self.high - self.low + 1

    @property
    def _continuous(self) -> Float:
        return Float(self.low - 0.5, self.high + 0.5, self.log)

    def encode(self, value: Any) -> Array:
        """A value -> (1,) in [0, 1], the middle of its share."""
        number = _number(value)
        if number != int(number) or not self.low <= number <= self.high:
            raise SpaceError(f"{value!r} is not a whole number in [{self.low}, {self.high}]")
        return self._continuous.encode(number)

    def decode(self, unit: Array) -> int:
        """(1,) in [0, 1] -> a value."""
        return min(max(math.floor(self._continuous.decode(unit) + 0.5), self.low), self.high)


@dataclass(frozen=True)
class Categorical:
    """One of two or more unordered choices; one column for two of them, else one column each (one-hot).

    Example:
        >>> Categorical(["a", "b", "c"]).encode("b")
        array([0., 1., 0.])
    """

    choices: Sequence[Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        if len(self.choices) < 2 or len({(type(c), c) for c in self.choices}) != len(self.choices):
            raise SpaceError(f"Categorical({list(self.choices)!r}): two or more different choices are needed")

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1 if len(self.choices) == 2 else len(self.choices)

    @property
    def size(self) -> float:
        """How many different values there are."""
        return len(self.choices)

    def encode(self, value: Any) -> Array:
        """A choice -> (width,) of zeros and ones."""
        for index, choice in enumerate(self.choices):
            # 1, 1.0 and True are equal in Python, and may all be choices.
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                if self.width == 1:
                    return np.array([float(index)])
                return np.eye(len(self.choices))[index]
        raise SpaceError(f"{value!r} is not one of {list(self.choices)!r}")

    def decode(self, unit: Array) -> Value:
        """(width,) in [0, 1] -> the choice with the largest column, the first of equals."""
        if self.width == 1:
            return self.choices[int(unit[0] > 0.5)]
        return self.choices[int(np.argmax(unit))]


Parameter: TypeAlias = Float | Int | Categorical


class Space:
    """Named parameters, in order, and their map to the unit cube [0, 1]^d.

    Args:
        parameters: name -> Float, Int or Categorical.

    Raises:
        SpaceError: if there is none, a name is not a string, or the cube has more than 64 dimensions.

    Example:
        >>> space = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 8)})
        >>> space.decode(np.array([1.0, 0.5]))
        {'lr': 1.0, 'depth': 5}
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if not parameters:
            raise SpaceError("the space has no parameter; at least one is needed")
        for name, parameter in parameters.items():
            if not isinstance(name, str) or not isinstance(parameter, (Float, Int, Categorical)):
                raise SpaceError(
                    f"parameter {name!r} is {type(parameter).__name__}; a string name and a Float, Int or "
                    "Categorical are needed"
                )
        self.parameters: dict[str, Parameter] = dict(parameters)
        self.dim = sum(parameter.width for parameter in self.parameters.values())
        if self.dim > MAX_DIM:
            raise SpaceError(f"the space has {self.dim} dimensions; at most {MAX_DIM} are supported")

    @property
    def column_names(self) -> list[str]:
        """The parameter that each of the d columns belongs to."""
        return [name for name, parameter in self.parameters.items() for _ in range(parameter.width)]

    @property
    def column_kinds(self) -> list[int]:
        """Of each column: 0 real, 1 whole numbers, 2 one choice of a categorical parameter.

        Example:
            >>> Space({"lr": Float(0, 1), "depth": Int(1, 8), "kernel": Categorical("abc")}).column_kinds
            [0, 1, 2, 2, 2]
        """
        kind = {Float: 0, Int: 1, Categorical: 2}
        return [kind[type(p)] for p in self.parameters.values() for _ in range(p.width)]

    @property
    def size(self) -> float:
        """How many different configurations there are; inf with any Float."""
        return math.prod(parameter.size for parameter in self.parameters.values())

    def encode(self, configuration: Mapping[str, Any]) -> Array:
        """A configuration -> (d,) in [0, 1].

        Raises:
            SpaceError: on a missing or unknown name, or a value outside; the message names it.
        """
        if set(configuration) != set(self.parameters):
            missing = sorted(set(self.parameters) - set(configuration))
            unknown = sorted(set(map(str, configuration)) - set(self.parameters))
            raise SpaceError(f"configuration lacks {missing} and has unknown {unknown}")
        columns = []
        for name, parameter in self.parameters.items():
            try:
                columns.append(parameter.encode(configuration[name]))
            except SpaceError as error:
                raise SpaceError(f"parameter {name!r}: {error}") from None
        return np.concatenate(columns)

    def decode(self, unit: Array) -> dict[str, Any]:
        """(d,) in [0, 1] -> a configuration, every value inside its parameter's range."""
        configuration: dict[str, Any] = {}
        start = 0
        for name, parameter in self.parameters.items():
            configuration[name] = parameter.decode(unit[start : start + parameter.width])
            start += parameter.width
        return configuration

    def snap(self, units: Array) -> Array:
        """(n, d) in [0, 1] -> (n, d), each row moved to the point that stands for its configuration."""
        return np.stack([self.encode(self.decode(row)) for row in units]) if len(units) else units

    def all_units(self) -> Array:
        """Every configuration of a finite space as a point; (size, d).

        Raises:
            SpaceError: if the space is infinite.
        """
        if not math.isfinite(self.size):
            raise SpaceError("the space has a Float parameter; its configurations cannot be listed")
        axes = []
        for parameter in self.parameters.values():
            if isinstance(parameter, Categorical):
                axes.append([parameter.encode(choice) for choice in parameter.choices])
            elif isinstance(parameter, Int):
                axes.append([parameter.encode(value) for value in range(parameter.low, parameter.high + 1)])
        grid = np.meshgrid(*[np.arange(len(axis)) for axis in axes], indexing="ij")
        rows = np.stack([g.ravel() for g in grid], axis=1)
        return np.stack([np.concatenate([axes[k][i] for k, i in enumerate(row)]) for row in rows])
