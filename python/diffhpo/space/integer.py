# SPDX-License-Identifier: Apache-2.0
"""Whole-number parameters, with a log scale or a step if wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import SpaceError
from diffhpo.space.levels import MOST_LEVELS, level_at, middle_of
from diffhpo.space.parameter import (
    Array,
    Parameter,
    check_bounds,
    plain_number,
    plain_truth,
    real_number,
)

#: On a log scale a larger whole number may come back from the unit cube as its neighbour: exp of a logarithm
#: near 32 is right to about 2e-15 of itself.
LARGEST_LOG = 2**44


@dataclass(frozen=True, repr=False)
class Int(Parameter):
    """A whole number in [low, high]; every value owns an equal share of the (log) axis.

    Args:
        low: the smallest value.
        high: the largest value.
        log: space the values evenly in log(value): v owns log(v - 1/2) to log(v + 1/2). Needs low > 0.
        step: take only low, low + step, ... up to high; above 1 not with `log`.

    Raises:
        SpaceError: on bounds that are not whole and ascending, a step that does not fit between them, or
            values that double precision cannot tell apart.

    Example:
        >>> [Int(1, 3).decode(np.array([u])) for u in (0.0, 0.5, 1.0)]
        [1, 2, 3]
        >>> Int(16, 128, step=16).values()
        [16, 32, 48, 64, 80, 96, 112, 128]
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", plain_truth("Int", "log", self.log))
        for name in ("low", "high", "step"):
            object.__setattr__(self, name, plain_number("Int", name, getattr(self, name)))
        described = f"Int({self.low}, {self.high}{', log=True' if self.log else ''})"
        check_bounds(described, float(self.low), float(self.high), self.log)
        for name in ("low", "high", "step"):
            number = getattr(self, name)
            if not math.isfinite(number) or number != int(number):
                raise SpaceError(f"{described}: {name} is {number}; a whole number is needed")
            object.__setattr__(self, name, int(number))
        if not 1 <= self.step <= self.high - self.low:
            raise SpaceError(f"{described}: step is {self.step}; 1 to high - low is accepted")
        if self.log and self.step != 1:
            raise SpaceError(f"{described}: step is {self.step}; log and step exclude each other")
        if self.size > MOST_LEVELS or max(abs(self.low), abs(self.high)) > 2**53:
            raise SpaceError(f"{described}: more than 2**50 values, or one beyond 2**53; use Float")
        if self.log and self.high > LARGEST_LOG:
            raise SpaceError(
                f"{described}: above 2**44 a log scale does not tell neighbours apart; use Float"
            )

    @property
    def size(self) -> float:
        """How many different values there are."""
        return 1 + (self.high - self.low) // self.step

    @property
    def unit_step(self) -> float:
        """Distance in the unit cube between neighbouring values; on a log scale between the largest two."""
        if not self.log:
            return 1 / self.size
        low, high = self._axis
        return (math.log(self.high) - math.log(self.high - 1)) / (high - low)

    @property
    def _axis(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    def encode(self, value: Any) -> Array:
        """A value -> (1,) in [0, 1], the middle of its share."""
        number = real_number(value)
        if not self.low <= number <= self.high or number != math.floor(number):
            raise SpaceError(f"{value!r} is not a whole number in [{self.low}, {self.high}]")
        if (int(number) - self.low) % self.step:
            raise SpaceError(f"{value!r} is not {self.low} plus a multiple of {self.step}")
        return self._position(np.array([(int(number) - self.low) // self.step]))

    def decode(self, unit: Array) -> int:
        """(1,) in [0, 1] -> a value."""
        return self.low + self.step * int(self._level(np.asarray(unit))[0])

    def snap(self, units: Array) -> Array:
        """(n, 1) -> (n, 1), each row in the middle of its value's share."""
        return self._position(self._level(units))

    def level(self, units: Array) -> NDArray[np.int64]:
        """(n, 1) -> (n,) how many steps each value is above the lowest."""
        return self._level(units[:, 0])

    def values(self) -> list[int]:
        """All of them; `size` many."""
        return list(range(self.low, self.high + 1, self.step))

    def _level(self, unit: Array) -> NDArray[np.int64]:
        if not self.log:
            return level_at(unit, int(self.size))
        low, high = self._axis
        value = np.floor(np.exp(low * (1 - unit) + high * unit) + 0.5)
        return np.clip(value, self.low, self.high).astype(np.int64) - self.low

    def _position(self, level: NDArray[np.int64]) -> Array:
        if not self.log:
            return middle_of(level, int(self.size))
        low, high = self._axis
        return np.clip((np.log(level + float(self.low)) - low) / (high - low), 0.0, 1.0)
