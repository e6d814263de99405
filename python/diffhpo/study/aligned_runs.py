# SPDX-License-Identifier: Apache-2.0
"""The runs that several methods share, side by side in one array."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DataError, InputError
from diffhpo.hpob.results import Results, runs

Array = NDArray[np.float64]
RunKey = tuple[str, str, str]

#: HPO-B's plotter rounds regrets to this many decimals before it ranks them.
RANK_DECIMALS = 8


def rank_rows(values: Array) -> Array:
    """Rank each row against the others in every place: 1 is smallest, ties share their mean.

    Args:
        values: (M, ...) one row per method.

    Example:
        >>> rank_rows(np.array([[0.2], [0.1], [0.2]]))[:, 0]
        array([2.5, 1. , 2.5])
    """
    ranks = np.empty(values.shape)
    for row, own in enumerate(values):
        better = (values < own).sum(axis=0)
        tied = (values == own).sum(axis=0)  # counts the row itself
        ranks[row] = better + (tied + 1) / 2
    return ranks


@dataclass(frozen=True)
class AlignedRuns:
    """The runs that every method has, in one array."""

    methods: list[str]
    runs: list[RunKey]
    """(R) space, task and seed, sorted."""
    incumbents: Array
    """(M, R, T) method, run, entry of the curve."""
    dropped: dict[RunKey, list[str]]
    """Runs that were left out for all methods -> the methods that lack them; empty unless allowed."""

    @property
    def regret(self) -> Array:
        """(M, R, T) 1 - incumbent."""
        return 1.0 - self.incumbents

    def ranks(self) -> Array:
        """(M, R, T) rank among the methods within each run, 1 is best, ties share their mean."""
        return rank_rows(self.regret.round(RANK_DECIMALS))

    def tasks(self) -> tuple[list[tuple[str, str]], NDArray[np.intp]]:
        """The (K) tasks as (space, task), and (R,) the task's number of each run."""
        tasks = sorted({(space, task) for space, task, _ in self.runs})
        number = {key: index for index, key in enumerate(tasks)}
        return tasks, np.array([number[space, task] for space, task, _ in self.runs], dtype=np.intp)


def align(
    results: Mapping[str, Results],
    *,
    n_points: int | None = None,
    expected: Iterable[RunKey] = (),
    allow_missing: bool = False,
) -> AlignedRuns:
    """Put the curves of several methods side by side.

    Args:
        results: method -> {space: {task: {seed: [incumbent, ...]}}}.
        n_points: entries to take of each curve; by default all, which must then be equally many.
        expected: (space, task, seed) of runs that every method must have, besides those that any has.
        allow_missing: leave a run out for all methods if one lacks it (or has it too short), as HPO-B's
            plotter does; the runs are listed in `dropped`.

    Raises:
        InputError: if there is no method or `n_points` is not positive.
        DataError: listing the missing or short runs, or if no run is left.
    """
    if not results:
        raise InputError("results has no method; give {method: results}")
    if n_points is not None and n_points < 1:
        raise InputError(f"n_points is {n_points}; at least 1 is needed")
    methods = list(results)
    curves = {method: dict(runs(results[method])) for method in methods}
    lengths = {method: {len(curve) for curve in curves[method].values()} for method in methods}
    if n_points is None:
        all_lengths = sorted(set().union(*lengths.values()))
        if len(all_lengths) > 1:
            each = "; ".join(f"{m}: {min(n)} to {max(n)}" for m, n in lengths.items() if n)
            raise DataError(f"curves have different lengths ({each}); give n_points to cut them all alike")
        n_points = all_lengths[0] if all_lengths else 1
    keys = sorted({key for method in methods for key in curves[method]} | set(expected))
    lacking = {
        key: absent
        for key in keys
        if (absent := [m for m in methods if len(curves[m].get(key, ())) < n_points])
    }
    if lacking and not allow_missing:
        listed = [f"{' '.join(key)} ({', '.join(absent)})" for key, absent in lacking.items()]
        more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
        raise DataError(
            f"{len(lacking)} of {len(keys)} runs are missing or shorter than {n_points} entries: "
            f"{'; '.join(listed[:20])}{more}; run them, or allow_missing=True leaves them out for all methods"
        )
    kept = [key for key in keys if key not in lacking]
    if not kept:
        raise DataError(f"no run is shared by all of {', '.join(methods)}")
    incumbents = np.array([[curves[m][key][:n_points] for key in kept] for m in methods], dtype=np.float64)
    return AlignedRuns(methods, kept, incumbents, lacking)
