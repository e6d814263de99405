# SPDX-License-Identifier: Apache-2.0
"""Ordered choices."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.space.choices import check_choices, place_of, plain_places
from diffhpo.space.levels import level_at, middle_of
from diffhpo.space.parameter import Array, Parameter


@dataclass(frozen=True, repr=False)
class Ordinal(Parameter):
    """One of two or more choices whose order means something; one column, an equal share for each.

    Args:
        choices: any Python objects, all different, from one end to the other.

    Raises:
        SpaceError: on fewer than two choices, one that comes twice, or a set, which has no order.

    Example:
        >>> Ordinal(["small", "medium", "large"]).decode(np.array([0.5]))
        'medium'
    """

    choices: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", check_choices("Ordinal", self.choices))

    @property
    def size(self) -> float:
        """How many different values there are."""
        return len(self.choices)

    def encode(self, value: Any) -> Array:
        """A choice -> (1,) in [0, 1], the middle of its share."""
        return middle_of(np.array([place_of(self.choices, value, self._places)]), len(self.choices))

    def decode(self, unit: Array) -> Any:
        """(1,) in [0, 1] -> a choice."""
        return self.choices[int(level_at(unit, len(self.choices))[0])]

    def snap(self, units: Array) -> Array:
        """(n, 1) -> (n, 1), each row in the middle of its choice's share."""
        return middle_of(level_at(units, len(self.choices)), len(self.choices))

    def level(self, units: Array) -> NDArray[np.int64]:
        """(n, 1) -> (n,) which choice each row is."""
        return level_at(units[:, 0], len(self.choices))

    def values(self) -> list[Any]:
        """The choices."""
        return list(self.choices)

    @cached_property
    def _places(self) -> dict[Hashable, int]:
        return plain_places(self.choices)
