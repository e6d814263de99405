# SPDX-License-Identifier: Apache-2.0
"""Changes of a function's columns that leave it a function: order, direction, scale, extra columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS, STEPPED

Points = NDArray[np.float32]
#: Largest |log| of the two exponents of a warp, where the roles are withheld and where they are told: a
#: named parameter keeps its direction and nearly its scale, for these are what the name tells.
WARP_FREE, WARP_NAMED = 1.0, 0.25
P_WARP, P_FLIP, P_IRRELEVANT, P_SPLIT, P_ONE_HOT = 0.5, 0.5, 0.25, 0.1, 0.5
MAX_IRRELEVANT = 3


def _warped(rng: np.random.Generator, column: Points, strength: float) -> Points:
    """Kumaraswamy's distribution function with random exponents, or its inverse: both keep 0 and 1."""
    a, b = np.exp(rng.uniform(-strength, strength, 2)).astype(np.float32)
    out: Points = 1.0 - (1.0 - column**a) ** b
    return out


def _shuffled_levels(rng: np.random.Generator, column: Points) -> Points:
    values, code = np.unique(column, return_inverse=True)
    out: Points = rng.permutation(values)[code]
    return out


def _one_hot(column: Points) -> list[Points]:
    values = np.unique(column)
    return [(column == value).astype(np.float32) for value in values]


def _split(rng: np.random.Generator, column: Points) -> list[Points]:
    """Two columns whose mean is the given one: the function depends on both in the same way."""
    room = np.minimum(column, 1.0 - column)
    shift = (room * rng.uniform(-1.0, 1.0, len(column))).astype(np.float32)
    return [column + shift, column - shift]


def _irrelevant(rng: np.random.Generator, count: int) -> tuple[Points, int]:
    if rng.random() < 0.5:
        return rng.random(count, dtype=np.float32), CONTINUOUS
    levels = int(rng.integers(2, 12))
    return (rng.integers(levels, size=count) / np.float32(levels - 1)).astype(np.float32), STEPPED


def augment(
    rng: np.random.Generator,
    x: Points,
    kinds: NDArray[np.int64],
    roles: NDArray[np.int64],
    max_dim: int,
) -> tuple[Points, NDArray[np.int64], NDArray[np.int64]]:
    """Change the columns of evaluated points; their values stay true of the changed function.

    In half of the cases roles are withheld (0), and then columns may be flipped and strongly warped.
    Continuous columns are warped (Kumaraswamy 1980) or split in two whose mean they are; categorical ones
    get another order of levels or one column a level; irrelevant columns join; all are permuted.

    Args:
        rng: Decides everything.
        x: (n, d) points.
        kinds: (d,).
        roles: (d,).
        max_dim: Columns never become more than this.

    Returns:
        x (n, d'), kinds (d',), roles (d',) with 1 <= d' <= max_dim.
    """
    named = rng.random() < 0.5
    warp = rng.random() < P_WARP
    spare = max_dim - x.shape[1]
    columns: list[tuple[Points, int, int]] = []
    for j, (kind, role) in enumerate(zip(kinds.tolist(), roles.tolist(), strict=True)):
        parts, role = [x[:, j]], role if named else 0
        if kind == CATEGORICAL:
            parts = [_shuffled_levels(rng, parts[0])]
            levels = len(np.unique(parts[0]))
            if 2 < levels <= spare + 1 and rng.random() < P_ONE_HOT:
                parts = _one_hot(parts[0])
        else:
            if not named and rng.random() < P_FLIP:
                parts = [1.0 - parts[0]]
            if kind == CONTINUOUS and warp:
                parts = [_warped(rng, parts[0], WARP_NAMED if named else WARP_FREE)]
            if kind == CONTINUOUS and not named and spare > 0 and rng.random() < P_SPLIT:
                parts = _split(rng, parts[0])
        spare -= len(parts) - 1
        columns += [(part, kind, role) for part in parts]
    if rng.random() < P_IRRELEVANT:
        for _ in range(min(int(rng.integers(1, MAX_IRRELEVANT + 1)), spare)):
            columns.append((*_irrelevant(rng, len(x)), 0))
    order = rng.permutation(len(columns))
    return (
        np.clip(np.stack([columns[j][0] for j in order], axis=1), 0.0, 1.0).astype(np.float32),
        np.array([columns[j][1] for j in order], dtype=np.int64),
        np.array([columns[j][2] for j in order], dtype=np.int64),
    )
