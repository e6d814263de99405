# SPDX-License-Identifier: Apache-2.0
"""Unordered choices."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.space.choices import check_choices, place_of, plain_places
from diffhpo.space.parameter import CHOICE, Array, Parameter


@dataclass(frozen=True, repr=False)
class Categorical(Parameter):
    """One of two or more unordered choices; one column for two of them, else one column each (one-hot).

    Args:
        choices: any Python objects, all different.

    Raises:
        SpaceError: on fewer than two choices, one that comes twice, or a set, which has no order.

    Example:
        >>> Categorical(["a", "b", "c"]).encode("b")
        array([0., 1., 0.])
    """

    choices: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", check_choices("Categorical", self.choices))

    @property
    def kind(self) -> int:
        """CHOICE."""
        return CHOICE

    @property
    def width(self) -> int:
        """Columns of the unit cube."""
        return 1 if len(self.choices) == 2 else len(self.choices)

    @property
    def size(self) -> float:
        """How many different values there are."""
        return len(self.choices)

    @property
    def unit_step(self) -> float:
        """1: a column is 0 or 1."""
        return 1.0

    @property
    def inactive(self) -> float:
        """Equally far from all choices."""
        return 0.5 if self.width == 1 else 0.0

    def encode(self, value: Any) -> Array:
        """A choice -> (width,) of zeros and ones."""
        return self._position(np.array([place_of(self.choices, value, self._places)]))[0]

    def decode(self, unit: Array) -> Any:
        """(width,) in [0, 1] -> the choice with the largest column, the first of equals."""
        return self.choices[int(self.level(np.asarray(unit)[None])[0])]

    def snap(self, units: Array) -> Array:
        """(n, width) -> (n, width) of zeros and ones."""
        return self._position(self.level(units))

    def level(self, units: Array) -> NDArray[np.int64]:
        """(n, width) -> (n,) which choice each row is."""
        if self.width == 1:
            return (units[:, 0] > 0.5).astype(np.int64)
        return units.argmax(axis=1)

    def values(self) -> list[Any]:
        """The choices."""
        return list(self.choices)

    @cached_property
    def _places(self) -> dict[Hashable, int]:
        return plain_places(self.choices)

    def _position(self, level: NDArray[np.int64]) -> Array:
        if self.width == 1:
            return level[:, None].astype(np.float64)
        return np.eye(len(self.choices))[level]
