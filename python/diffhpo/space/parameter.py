# SPDX-License-Identifier: Apache-2.0
"""What a parameter of a search space is: a set of values and its map to columns of the unit cube and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import SpaceError

Array = NDArray[np.float64]

#: Kinds of columns, as the pretrained model was told them: real, ordered levels, one choice of several.
REAL, LEVELS, CHOICE = 0, 1, 2

#: Points may leave [0, 1] by this much, from rounding in the caller's own scaling; they are clipped.
UNIT_TOLERANCE = 1e-6


class Parameter(ABC):
    """A set of values; each stands at one point of `width` columns in [0, 1]."""

    def __repr__(self) -> str:
        """What would make it, defaults left out."""
        stated = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type] # every parameter is a dataclass
            if getattr(self, field.name) is not field.default
        )
        return f"{type(self).__name__}({', '.join(stated)})"

    @property
    def kind(self) -> int:
        """REAL, LEVELS or CHOICE."""
        return LEVELS

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1

    @property
    @abstractmethod
    def size(self) -> float:
        """How many different values there are; inf for a real parameter."""

    @property
    def unit_step(self) -> float:
        """Distance in the unit cube between neighbouring values; 0 for a real parameter."""
        return 1 / self.size

    @property
    def inactive(self) -> float:
        """Where the columns of a parameter stand that has no value."""
        return 0.5

    @abstractmethod
    def encode(self, value: Any) -> Array:
        """A value -> (width,) in [0, 1].

        Raises:
            SpaceError: if it is not a value of this parameter.
        """

    def differ(self, value: Any, given: Any) -> bool:
        """Whether a value was replaced by another of this parameter, up to rounding to single precision.

        What is no value of it, such as the text or the class that the caller made of it, is no other; but of
        numbers a number is.
        """
        try:
            distance = np.abs(self.encode(given) - self.encode(value))
        except SpaceError:
            return all(isinstance(one, (int, float, np.number)) for one in (value, given))
        return bool((distance > UNIT_TOLERANCE).any())

    @abstractmethod
    def decode(self, unit: Array) -> Any:
        """(width,) in [0, 1] -> a value."""

    @abstractmethod
    def snap(self, units: Array) -> Array:
        """(n, width) in [0, 1] -> (n, width): each row moved to where its value stands."""

    def level(self, units: Array) -> NDArray[np.int64]:
        """(n, width) -> (n,) the place of each row's value in `values()`.

        Raises:
            SpaceError: if the values are not finitely many.
        """
        raise SpaceError(f"{self!r} has no finite list of values")

    def values(self) -> list[Any]:
        """All values, in order.

        Raises:
            SpaceError: if there are infinitely many.
        """
        raise SpaceError(f"{self!r} has no finite list of values")


def check_bounds(described: str, low: float, high: float, log: bool) -> None:
    """Raise a SpaceError unless the bounds span an interval on their scale."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SpaceError(f"{described}: finite bounds with low < high are needed; one value is a Constant")
    if log and low <= 0:
        raise SpaceError(f"{described}: a log scale needs low > 0")
    if log and math.log(low) == math.log(high):
        raise SpaceError(f"{described}: the logarithms of the bounds are equal in double precision")


def real_number(value: Any) -> float:
    """The value as a float.

    Raises:
        SpaceError: unless it is a number in the range of double precision; truth values are not.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise SpaceError(f"{value!r} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise SpaceError(
            f"a whole number of {int(value).bit_length()} bits is beyond double precision"
        ) from None


def check_points(points: Any, argument: str, shape: tuple[int | None, ...]) -> Array:
    """Points of the unit cube as a float64 copy.

    Args:
        points: what came.
        argument: its name, for the message.
        shape: that is needed; None is any length.

    Raises:
        SpaceError: on another shape, or a number outside of [0, 1].
    """
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpaceError(f"{argument} is {points!r}; an array of numbers is needed") from None
    fits = len(array.shape) == len(shape) and all(
        wanted is None or length == wanted for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        needed = ", ".join("n" if length is None else str(length) for length in shape)
        raise SpaceError(f"{argument} has shape {array.shape}; ({needed}) is needed")
    inside = (array >= -UNIT_TOLERANCE) & (array <= 1 + UNIT_TOLERANCE)  # false of nan too
    if not inside.all():
        raise SpaceError(f"{argument} holds {array[~inside][0]}; numbers in [0, 1] are needed")
    return np.clip(array, 0.0, 1.0)


def plain_number(described: str, name: str, value: Any) -> Any:
    """A bound or a step as Python's own int or float, so that it can be written to JSON.

    Raises:
        SpaceError: as `real_number`; the message names the argument.
    """
    try:
        real_number(value)
    except SpaceError as error:
        raise SpaceError(f"{described}: {name}: {error}") from None
    if isinstance(value, np.generic):
        return value.item() if isinstance(value, np.integer) else float(value)
    return value


def plain_truth(described: str, name: str, value: Any) -> bool:
    """True or False as Python's own.

    Raises:
        SpaceError: on anything else, such as the text "false", which counts as true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise SpaceError(f"{described}: {name} is {value!r}; True or False is needed")
    return bool(value)
