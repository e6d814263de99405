# SPDX-License-Identifier: Apache-2.0
"""Initial designs of benchmarks that come without any: the same rows for every method."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from diffhpo.hpob.task import N_INITIAL

#: Seeds of a suite that has no designs of its own.
SEEDS = tuple(f"test{number}" for number in range(20))


def name_seed(*names: str) -> int:
    """A seed that is a function of names alone, whatever the version of Python.

    Example:
        >>> name_seed("x48", "d2") == name_seed("x48", "d2") != name_seed("x48d", "2")
        True
    """
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8], "big")


def draw_designs(space: str, task: str, rows: int, seeds: Sequence[str] = SEEDS) -> dict[str, list[int]]:
    """Five different rows for each seed, a function of the names alone.

    Args:
        space, task: names.
        rows: rows of the task's table, at least five.
        seeds: names of the designs.

    Example:
        >>> first = draw_designs("x48", "d2", 1000, ["test0"])
        >>> len(first["test0"]), first["test0"] == draw_designs("x48", "d2", 1000)["test0"]
        (5, True)
    """
    designs = {}
    for seed in seeds:
        generator = np.random.default_rng(name_seed(space, task, seed, "initial design"))
        designs[seed] = generator.choice(rows, size=N_INITIAL, replace=False).tolist()
    return designs
