# SPDX-License-Identifier: Apache-2.0
"""The highest and lowest value of a surrogate over the unit cube.

A sum of trees is constant on the cells between its thresholds, so a search over one point a cell is complete.
Exhausting the cells is out of reach in ten dimensions; the search takes the best of a large Sobol design and
of the data, climbs one coordinate at a time over all its cells until no single coordinate improves, then
recombines the optima found and climbs again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Size of the Sobol design by default, as a power of two.
SOBOL_LOG2 = 17
N_STARTS = 64
N_GENERATIONS = 6
Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def cells(model: dict[str, Any], dim: int) -> list[NDArray[np.float64]]:
    """For each coordinate one value inside every cell between the model's thresholds, ascending."""
    thresholds: list[set[float]] = [set() for _ in range(dim)]
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        for left, index, value in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        ):
            if left >= 0:
                thresholds[index].add(value)
    edges = [np.array([0.0, *sorted(v for v in known if 0.0 < v < 1.0), 1.0]) for known in thresholds]
    return [(edge[:-1] + edge[1:]) / 2.0 for edge in edges]


def _climb(predict: Predict, x: NDArray[np.float64], grid: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Coordinate ascent from every row of x (n, d) until none improves by a move of one coordinate."""
    x = x.copy()
    best = predict(x)
    active = np.ones(len(x), dtype=bool)
    while active.any():
        before = best.copy()
        for j, values in enumerate(grid):
            rows = np.flatnonzero(active)
            trial = np.repeat(x[rows], len(values), axis=0)
            trial[:, j] = np.tile(values, len(rows))
            value = predict(trial).reshape(len(rows), len(values))
            choice = value.argmax(axis=1)
            gain = value[np.arange(len(rows)), choice]
            better = gain > best[rows]
            x[rows[better], j] = values[choice[better]]
            best[rows[better]] = gain[better]
        active &= best > before
    return x


def highest(
    predict: Predict,
    grid: list[NDArray[np.float64]],
    data: NDArray[np.float64],
    seed: int,
    *,
    sobol_log2: int = SOBOL_LOG2,
) -> tuple[float, NDArray[np.float64]]:
    """The highest value found and a point that has it.

    Args:
        predict: (n, d) -> (n,).
        grid: Cells of each coordinate.
        data: (n, d) points to start from beside the Sobol design.
        seed: Of the Sobol scramble and the recombination.
        sobol_log2: The design has 2 to this power points.

    Returns:
        Value and (d,) point.
    """
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    pool = np.concatenate([data, qmc.Sobol(data.shape[1], seed=seed).random_base2(sobol_log2)])
    population = _climb(predict, pool[np.argsort(-predict(pool), kind="stable")[:N_STARTS]], grid)
    for _ in range(N_GENERATIONS):
        mother, father = population[rng.integers(len(population), size=(2, N_STARTS))]
        child = np.where(rng.random(mother.shape) < 0.5, mother, father)
        # One or two coordinates start anew, so that an optimum of single moves can be left.
        renewed = rng.random(child.shape) < 1.5 / child.shape[1]
        fresh = np.stack([rng.choice(values, len(child)) for values in grid], axis=1)
        child = _climb(predict, np.where(renewed, fresh, child), grid)
        everyone = np.unique(np.concatenate([population, child]), axis=0)
        population = everyone[np.argsort(-predict(everyone), kind="stable")[:N_STARTS]]
    value = predict(population[:1])
    return float(value[0]), population[0]
