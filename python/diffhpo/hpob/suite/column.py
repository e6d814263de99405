# SPDX-License-Identifier: Apache-2.0
"""A column of the suite's search space, and the way between [0, 1] and native units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffhpo.errors import InputError, SpaceError

TRANSFORMS = ("linear", "log2")


@dataclass(frozen=True)
class Column:
    """One hyperparameter: its native range and how the range is laid on [0, 1].

    Args:
        name: XGBoost's name of the parameter.
        low: Smallest native value, at 0.
        high: Largest native value, at 1.
        transform: "linear", or "log2": equal steps in [0, 1] multiply the native value by equal factors.
        integer: The native value is rounded to the nearest integer.
        choices: For a categorical column its values in order; the native integer indexes them.

    Raises:
        SpaceError: The range is empty, or not positive under "log2", or the transform is unknown.

    Example:
        >>> column = Column("eta", 2**-10, 1.0, "log2", False)
        >>> column.decode(0.5).item()
        0.03125
        >>> column.encode(0.03125).item()
        0.5
    """

    name: str
    low: float
    high: float
    transform: str
    integer: bool
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise SpaceError(f"{self.name}: transform is {self.transform!r}; accepted are {TRANSFORMS}")
        if not self.low < self.high:
            raise SpaceError(f"{self.name}: low {self.low} must be smaller than high {self.high}")
        if self.transform == "log2" and self.low <= 0:
            raise SpaceError(f"{self.name}: low is {self.low}; a log2 column needs low > 0")

    def decode(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Native values of coordinates in [0, 1], any shape; integers are returned as whole floats."""
        u = np.asarray(unit, dtype=np.float64)
        if self.transform == "log2":
            low, high = np.log2(self.low), np.log2(self.high)
            value = np.exp2(low + u * (high - low))
        else:
            value = self.low + u * (self.high - self.low)
        # Half goes up, as a reader expects of 0.5 in a two-valued column; numpy's own rint goes to even.
        return np.floor(value + 0.5) if self.integer else np.asarray(value)

    def encode(self, value: ArrayLike) -> NDArray[np.float64]:
        """Coordinates in [0, 1] of native values, any shape."""
        v = np.asarray(value, dtype=np.float64)
        if self.transform == "log2":
            low, high = np.log2(self.low), np.log2(self.high)
            return np.asarray((np.log2(v) - low) / (high - low))
        return np.asarray((v - self.low) / (self.high - self.low))


def to_native(columns: Sequence[Column], x: ArrayLike) -> list[dict[str, float | int | str]]:
    """Configurations in native units.

    Args:
        columns: The d columns of the space.
        x: (n, d) in [0, 1].

    Returns:
        One dict a row, from column name to float, int (integer columns) or str (categorical columns).

    Raises:
        InputError: x is not (n, d), is not finite, or leaves [0, 1].

    Example:
        >>> booster = Column("booster", 0, 1, "linear", True, ("gbtree", "gblinear"))
        >>> to_native([Column("eta", 0.25, 1.0, "log2", False), booster], [[0.5, 1.0]])
        [{'eta': 0.5, 'booster': 'gblinear'}]
    """
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != len(columns):
        raise InputError(
            f"x has shape {points.shape}; accepted is (n, {len(columns)}), one column for each of "
            f"{', '.join(column.name for column in columns)}"
        )
    if not np.all((points >= 0.0) & (points <= 1.0)):
        raise InputError("x has values that are not finite or outside [0, 1]; scale it to the unit cube")
    decoded = [column.decode(points[:, j]) for j, column in enumerate(columns)]
    rows: list[dict[str, float | int | str]] = []
    for i in range(len(points)):
        row: dict[str, float | int | str] = {}
        for column, values in zip(columns, decoded, strict=True):
            value = float(values[i])
            if column.choices:
                row[column.name] = column.choices[int(value)]
            else:
                row[column.name] = int(value) if column.integer else value
        rows.append(row)
    return rows
