# SPDX-License-Identifier: Apache-2.0
"""Ten thousand trials, ties, repeats under noise and outliers, in one dimension and in thirty-two."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from diffhpo import Float, Optimizer, Space, Trial
from diffhpo.errors import InputWarning

MEGABYTE = 2**20


def space_of(dim: int) -> Space:
    return Space({f"x{k}": Float(0, 1) for k in range(dim)})


def value_at(row: np.ndarray) -> float:
    return -float(((row - 0.4) ** 2).sum())


def told(optimizer: Optimizer, count: int, value: Callable[[int, np.ndarray], float]) -> None:
    """Trials up to `count`, at random places."""
    first = len(optimizer.trials)
    rows = np.random.default_rng([1, first]).random((count - first, optimizer.space.dim))
    names = list(optimizer.space.parameters)
    optimizer.tell(
        [
            Trial(dict(zip(names, row.tolist(), strict=True)), value(k, row))
            for k, row in enumerate(rows, first)
        ]
    )


@pytest.mark.fault(11)
def test_11_memory_does_not_grow_with_the_trials() -> None:
    """The largest memory during an `ask`, Python's and NumPy's; the trials themselves are 2.5 MB."""
    optimizer = Optimizer(space_of(32), seed=0)
    told(optimizer, 300, lambda _, row: value_at(row))
    optimizer.ask()  # imports and caches
    peaks = []
    for count in (1_000, 10_000):
        told(optimizer, count, lambda _, row: value_at(row))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            optimizer.ask(2)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 20 * MEGABYTE
    assert peaks[1] < 100 * MEGABYTE


OBJECTIVES: dict[str, Callable[[np.random.Generator, int, float], float]] = {
    "three different values": lambda rng, k, y: float(round(y)),
    "all the same but one": lambda rng, k, y: float(k == 4),
    "an outlier of 1e300": lambda rng, k, y: 1e300 if k == 3 else y,
    "an outlier of -1e300": lambda rng, k, y: -1e300 if k == 3 else y,
    "all of the size of 1e300": lambda rng, k, y: y * 1e300,
    "denormals": lambda rng, k, y: 5e-324 * (k % 3),
    "noise alone": lambda rng, k, y: float(rng.normal()),
    "always worse": lambda rng, k, y: -float(k),
    "worse by powers of ten": lambda rng, k, y: -(10.0 ** min(k, 300)),
    "neighbouring floats": lambda rng, k, y: float(np.nextafter(1.0, 2.0)) if k % 2 else 1.0,
}


@pytest.mark.fault(8, 10)
@pytest.mark.parametrize("dim", [1, 32])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_08_values_in_one_dimension_and_in_thirty_two(name: str, dim: int) -> None:
    optimizer, rng = Optimizer(space_of(dim), seed=0), np.random.default_rng(2)
    told(optimizer, 6, lambda k, row: OBJECTIVES[name](rng, k, value_at(row)))
    seen = {tuple(trial.parameters.values()) for trial in optimizer.trials}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(6, 9):
            for suggestion in optimizer.ask(2):
                place = tuple(suggestion.parameters.values())
                assert all(0 <= x <= 1 for x in place)
                assert place not in seen
                seen.add(place)
                optimizer.tell(suggestion, OBJECTIVES[name](rng, k, value_at(np.array(place))))


@pytest.mark.fault(9)
def test_09_noisy_repeats_of_a_few_places() -> None:
    """What a replicated experiment tells: the same places again and again, each time with another value."""
    optimizer, rng = Optimizer(space_of(2), seed=0), np.random.default_rng(3)
    places = rng.random((4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        for k in range(200):
            row = places[k % 4]
            optimizer.tell({"x0": row[0], "x1": row[1]}, value_at(row) + float(rng.standard_cauchy()))
        found = optimizer.ask(3)
    assert len({tuple(one.parameters.values()) for one in found}) == 3
    assert not {tuple(one.parameters.values()) for one in found} & {tuple(row) for row in places.tolist()}
