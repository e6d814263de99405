# SPDX-License-Identifier: Apache-2.0
"""Parameters with one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import SpaceError
from diffhpo.space.choices import same
from diffhpo.space.parameter import Array, Parameter


@dataclass(frozen=True, repr=False)
class Constant(Parameter):
    """A parameter that always has one value; it takes no column of the unit cube.

    Example:
        >>> Constant("adam").decode(np.empty(0)), Constant("adam").width
        ('adam', 0)
    """

    value: Any

    @property
    def width(self) -> int:
        """No column."""
        return 0

    @property
    def size(self) -> float:
        """One value."""
        return 1

    def encode(self, value: Any) -> Array:
        """The value -> (0,).

        Raises:
            SpaceError: on any other value.
        """
        if not same(self.value, value):
            raise SpaceError(f"{value!r} is not the constant {self.value!r}")
        return np.empty(0)

    def decode(self, unit: Array) -> Any:
        """(0,) -> the value."""
        return self.value

    def snap(self, units: Array) -> Array:
        """(n, 0) -> (n, 0)."""
        return units

    def level(self, units: Array) -> NDArray[np.int64]:
        """(n, 0) -> (n,) zeros."""
        return np.zeros(len(units), dtype=np.int64)

    def values(self) -> list[Any]:
        """The one value."""
        return [self.value]
