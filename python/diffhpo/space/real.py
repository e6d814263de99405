# SPDX-License-Identifier: Apache-2.0
"""Real parameters, with a log scale or a step if wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import SpaceError
from diffhpo.space.levels import MOST_LEVELS, level_at, middle_of
from diffhpo.space.parameter import (
    LEVELS,
    REAL,
    Array,
    Parameter,
    check_bounds,
    plain_number,
    plain_truth,
    real_number,
)


@dataclass(frozen=True, repr=False)
class Float(Parameter):
    """A real parameter in [low, high].

    Args:
        low: the smallest value.
        high: the largest value.
        log: space it evenly in log(value); needs low > 0.
        step: take only low, low + step, ... up to high; not with `log`. Each value owns an equal share.

    Raises:
        SpaceError: on bounds that are not finite and ascending, a step that does not fit between them, or
            values that double precision cannot tell apart.

    Example:
        >>> round(Float(1e-4, 1.0, log=True).decode(np.array([0.5])), 9)
        0.01
        >>> [Float(0.0, 1.0, step=0.1).decode(np.array([u])) for u in (0.0, 0.3, 1.0)]
        [0.0, 0.3, 1.0]
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", plain_truth("Float", "log", self.log))
        for name in ("low", "high"):
            object.__setattr__(self, name, plain_number("Float", name, getattr(self, name)))
        described = f"Float({self.low}, {self.high}{', log=True' if self.log else ''})"
        check_bounds(described, float(self.low), float(self.high), self.log)
        if self.step is None:
            return
        if self.log:
            raise SpaceError(f"{described}: a step is {self.step}; log and step exclude each other")
        object.__setattr__(self, "step", plain_number(described, "step", self.step))
        # (-0.9) - (-1.0) is less than 0.1 in binary; the size is counted in decimals.
        if not self.step > 0 or self.size < 2:
            raise SpaceError(f"{described}: step is {self.step}; above 0 and at most high - low is accepted")
        if self.size > MOST_LEVELS:
            raise SpaceError(f"{described}: step {self.step} gives more than 2**50 values; leave it out")
        last = int(self.size) - 1
        if self._value(0) == self._value(1) or self._value(last - 1) == self._value(last):
            raise SpaceError(
                f"{described}: step {self.step} is too small beside the bounds: neighbours are equal "
                "in double precision"
            )

    @property
    def kind(self) -> int:
        """REAL, or LEVELS with a step."""
        return REAL if self.step is None else LEVELS

    @property
    def size(self) -> float:
        """How many different values there are."""
        if self.step is None:
            return math.inf
        # In decimals, as the user wrote them: (1 - 0) / 0.1 has ten steps, not nine and a little.
        return 1 + int((Decimal(repr(float(self.high))) - self._first) / self._stride)

    @property
    def _first(self) -> Decimal:
        return Decimal(repr(float(self.low)))

    @property
    def _stride(self) -> Decimal:
        return Decimal(repr(float(self.step or 0.0)))

    @property
    def _axis(self) -> tuple[float, float]:
        """The bounds on the scale that is cut evenly."""
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def _value(self, level: int) -> float:
        return float(self._first + level * self._stride)

    def encode(self, value: Any) -> Array:
        """A value -> (1,) in [0, 1]."""
        number = real_number(value)
        if not self.low <= number <= self.high:
            raise SpaceError(f"{value!r} is outside [{self.low}, {self.high}]")
        if self.step is not None:
            level = round((number - self.low) / self.step)
            if abs(number - self._value(level)) > 1e-6 * self.step or level >= self.size:
                raise SpaceError(f"{value!r} is not {self.low} plus a multiple of {self.step}")
            return middle_of(np.array([level]), int(self.size))
        low, high = self._axis
        half = 0.5 if math.isinf(high - low) else 1.0  # bounds such as -1e308 and 1e308
        span = half * high - half * low
        position = half * (math.log(number) if self.log else number) / span - half * low / span
        return np.array([min(max(position, 0.0), 1.0)])

    def decode(self, unit: Array) -> float:
        """(1,) in [0, 1] -> a value."""
        if self.step is not None:
            return self._value(int(level_at(unit, int(self.size))[0]))
        u = float(unit[0])
        low, high = self._axis
        position = low * (1 - u) + high * u
        value = math.exp(position) if self.log else position
        # Rounding may leave the interval by one unit in the last place.
        return float(min(max(value, self.low), self.high))

    def snap(self, units: Array) -> Array:
        """(n, 1) -> (n, 1), on the steps where there are some."""
        if self.step is None:
            return units
        return middle_of(level_at(units, int(self.size)), int(self.size))

    def level(self, units: Array) -> NDArray[np.int64]:
        """(n, 1) -> (n,) how many steps each value is above the lowest."""
        if self.step is None:
            return super().level(units)
        return level_at(units[:, 0], int(self.size))

    def values(self) -> list[float]:
        """The steps."""
        if self.step is None:
            return super().values()
        return [self._value(level) for level in range(int(self.size))]
