# SPDX-License-Identifier: Apache-2.0
"""Neighbours of good configurations: some of their coordinates moved, each kind of column in its own way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Kind of the columns of a categorical parameter, see `Space.column_kinds`.
CHOICE = 2
#: Chance that a categorical parameter gets another choice in a neighbour.
ANOTHER_CHOICE = 0.15


def moved_coordinates(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n, d): each coordinate moves with probability 1/2, and in every row at least one does."""
    moved = rng.random(shape) < 0.5
    moved[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = True
    return moved


class LocalMoves:
    """Moves points of the unit cube to neighbours.

    A real column moves by normal noise, one of ordered levels by noise of at least about a level. A
    categorical parameter gets a choice drawn anew, with all its columns, in 15% of the neighbours: noise
    alone would never leave the corner that stands for a choice.

    Args:
        kinds: of each column: 0 real, 1 levels, 2 one choice; real where left out.
        steps: of each column: the distance between levels.
        parameters: of each column: what tells its parameter, so that the columns of one categorical parameter
            move together; each column is a parameter where left out.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> LocalMoves(2)(np.full((3, 2), 0.5), np.full((3, 1), 0.1), rng).shape
        (3, 2)
    """

    def __init__(
        self,
        dim: int,
        *,
        kinds: Sequence[int] | None = None,
        steps: Sequence[float] | None = None,
        parameters: Sequence[str] | None = None,
    ) -> None:
        is_choice = np.zeros(dim, dtype=bool) if kinds is None else np.asarray(kinds) == CHOICE
        self._levels = np.zeros(dim) if steps is None else np.where(is_choice, 0.0, steps)
        named = list(range(dim)) if parameters is None else list(parameters)
        groups: dict[object, list[int]] = {}
        for column in np.flatnonzero(is_choice):
            groups.setdefault(named[column], []).append(int(column))
        self._choices = list(groups.values())

    def __call__(self, centres: Array, deviation: Array, rng: np.random.Generator) -> Array:
        """(n, d) points and (n, 1) deviations -> (n, d) neighbours, clipped to [0, 1]."""
        moved = moved_coordinates(centres.shape, rng)
        noise = rng.normal(size=centres.shape)
        points = np.clip(centres + moved * np.maximum(deviation, 0.7 * self._levels) * noise, 0, 1)
        for columns in self._choices:
            another = rng.random(len(centres)) < ANOTHER_CHOICE
            anew = rng.random((len(centres), len(columns)))
            points[:, columns] = np.where(another[:, None], anew, centres[:, columns])
        return points
