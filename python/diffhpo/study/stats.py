# SPDX-License-Identifier: Apache-2.0
"""Regret and rank of methods over a benchmark, with intervals over its tasks.

Normalised regret is 1 - incumbent. Ranks follow HPO-B's plotter: within a run (space, task, seed) the
methods are ranked by regret rounded to 8 decimals, 1 is best, and ties share the mean of their ranks.

Averages weigh in one of two ways. `"space"` (the default): over the seeds of a task, then over the tasks of
a space, then over the spaces, so every space counts alike. `"run"`: over all runs at once, as HPO-B's
aggregated figures do, so a space counts by its number of tasks.

Intervals are 95 % and over tasks: seeds of one task share its objective and are not independent. They are
Student-t intervals with the variance of a stratified mean and Welch-Satterthwaite degrees of freedom, not a
bootstrap: HPO-B's spaces have 2 to 7 tasks, and resampling n tasks understates their variance by
(n - 1) / n, one half for two tasks; the t interval also needs no seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.hpob.results import Results
from diffhpo.study.aligned_runs import AlignedRuns, Array, RunKey, align

__all__ = ["AlignedRuns", "Curves", "align", "average_rank", "mean_normalised_regret", "task_means"]

Weighting = Literal["space", "run"]


@dataclass(frozen=True)
class Curves:
    """A statistic of every method at every entry of the curves (entry 0: the initial evaluations)."""

    methods: list[str]
    mean: Array
    """(M, T)"""
    low: Array
    """(M, T) lower end of the 95 % interval over tasks; nan where it cannot be estimated."""
    high: Array
    """(M, T) upper end."""
    per_space: dict[str, Array]
    """space -> (M, T) mean within the space."""
    tasks: list[tuple[str, str]]
    """(space, task) of the tasks that entered."""
    n_runs: int
    dropped: dict[RunKey, list[str]]
    """As in `AlignedRuns`."""

    def of(self, method: str) -> Array:
        """(T,) mean of one method.

        Raises:
            InputError: if there is no such method.
        """
        if method not in self.methods:
            raise InputError(f"method {method!r} is not among {', '.join(self.methods)}")
        return self.mean[self.methods.index(method)]


def mean_normalised_regret(
    results: Mapping[str, Results] | AlignedRuns,
    *,
    weighting: Weighting = "space",
    n_points: int | None = None,
    allow_missing: bool = False,
) -> Curves:
    """Mean of 1 - incumbent at every entry of the curves.

    Args:
        results: method -> results, or runs that `align` put together.
        weighting: "space" or "run", see above.
        n_points, allow_missing: as in `align`.

    Raises:
        DataError: listing the runs that a method lacks.
        InputError: on an unknown weighting.

    Example:
        >>> mean_normalised_regret({"random": {"5971": {"43": {"test0": [0.5, 0.75]}}}}).of("random")
        array([0.5 , 0.25])
    """
    aligned = _aligned(results, n_points, allow_missing)
    return _curves(aligned, aligned.regret, weighting, bounds=(0.0, 1.0))


def average_rank(
    results: Mapping[str, Results] | AlignedRuns,
    *,
    weighting: Weighting = "space",
    n_points: int | None = None,
    allow_missing: bool = False,
) -> Curves:
    """Mean rank among the given methods at every entry of the curves; 1 is best.

    `weighting="run"` is the average of HPO-B's aggregated figures; within one space the two are the same
    if all its tasks have equally many seeds.

    Args and Raises: as `mean_normalised_regret`.
    """
    aligned = _aligned(results, n_points, allow_missing)
    return _curves(aligned, aligned.ranks(), weighting, bounds=(1.0, float(len(aligned.methods))))


def _aligned(
    results: Mapping[str, Results] | AlignedRuns, n_points: int | None, allow_missing: bool
) -> AlignedRuns:
    if isinstance(results, AlignedRuns):
        return results
    return align(results, n_points=n_points, allow_missing=allow_missing)


def task_means(values: Array, task_of_run: NDArray[np.intp]) -> Array:
    """(M, K, T) means over the runs of each task, of (M, R, T) values."""
    counts = np.bincount(task_of_run)
    # Runs are sorted, so those of a task are neighbours.
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.add.reduceat(values, starts, axis=1) / counts[None, :, None]


def _curves(aligned: AlignedRuns, values: Array, weighting: Weighting, bounds: tuple[float, float]) -> Curves:
    if weighting not in ("space", "run"):
        raise InputError(f"weighting is {weighting!r}; accepted: 'space', 'run'")
    tasks, task_of_run = aligned.tasks()
    by_task = task_means(values, task_of_run)
    names = [space for space, _ in tasks]
    groups = {space: [i for i, name in enumerate(names) if name == space] for space in dict.fromkeys(names)}
    if weighting == "space":
        per_space = {space: by_task[:, members].mean(axis=1) for space, members in groups.items()}
        mean = np.mean(list(per_space.values()), axis=0)
        variance, freedom = _stratified_variance(by_task, list(groups.values()))
    else:
        run_space = np.array([key[0] for key in aligned.runs])
        per_space = {space: values[:, run_space == space].mean(axis=1) for space in groups}
        mean = values.mean(axis=1)
        variance, freedom = _cluster_variance(by_task, np.bincount(task_of_run), mean)
    half = _t_quantile(freedom) * np.sqrt(variance)
    low, high = (np.clip(end, *bounds) for end in (mean - half, mean + half))
    return Curves(aligned.methods, mean, low, high, per_space, tasks, len(aligned.runs), aligned.dropped)


def _stratified_variance(by_task: Array, groups: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Variance of the mean over S strata of their means, and its Welch-Satterthwaite degrees of freedom.

    V = sum_s v_s / n_s / S^2 with v_s the variance between the tasks of stratum s; a stratum of a single
    task takes the mean v_s of the others. Degrees of freedom: (sum_s a_s)^2 / sum_s a_s^2 / (n_s - 1) with
    a_s = v_s / n_s (Satterthwaite 1946, Biometrics Bulletin 2(6), eq. 17), over strata of two tasks or more.
    """
    sizes = np.array([len(members) for members in groups])
    shape = (len(groups), by_task.shape[0], by_task.shape[2])
    between = np.full(shape, np.nan)
    for index, members in enumerate(groups):
        if len(members) > 1:
            between[index] = by_task[:, members].var(axis=1, ddof=1)
    several = sizes > 1
    if not several.any():
        return np.full(shape[1:], np.nan), np.ones(shape[1:])
    terms = between / sizes[:, None, None]
    known = terms[several]
    terms[~several] = between[several].mean(axis=0)
    squares = (known**2 / (sizes[several] - 1)[:, None, None]).sum(axis=0)
    with np.errstate(invalid="ignore"):
        freedom = np.where(squares > 0, known.sum(axis=0) ** 2 / squares, 1.0)
    return terms.sum(axis=0) / len(groups) ** 2, freedom


def _cluster_variance(by_task: Array, counts: NDArray[np.intp], mean: Array) -> tuple[Array, Array]:
    """Variance of the mean over runs with tasks as clusters, and K - 1 degrees of freedom."""
    tasks = len(counts)
    if tasks < 2:
        return np.full(mean.shape, np.nan), np.ones(mean.shape)
    deviations = counts[None, :, None] * (by_task - mean[:, None])
    variance = tasks / (tasks - 1) * (deviations**2).sum(axis=1) / counts.sum() ** 2
    return variance, np.full(mean.shape, float(tasks - 1))


def _t_quantile(freedom: Array) -> Array:
    from scipy import stats  # heavy, and no other part of `study` needs it at import

    return np.asarray(stats.t.ppf(0.975, freedom))
