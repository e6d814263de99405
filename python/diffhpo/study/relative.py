# SPDX-License-Identifier: Apache-2.0
"""A method's regret as a share of the best other method's, with an interval over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffhpo.errors import InputError
from diffhpo.study.aligned_runs import AlignedRuns, Array
from diffhpo.study.stats import task_means

#: Resamples of the bootstrap: the ends of a 95 % interval move by about 2 % of its width between seeds.
RESAMPLES = 4000

#: Of the resampling; equal runs give equal intervals.
SEED = 0


@dataclass(frozen=True)
class RelativeRegret:
    """Ratios at some entries of the curves.

    Attributes:
        methods: the M methods.
        trials: the T entries.
        rivals: (M, T) for each method the other method with the lowest mean regret at that trial.
        ratio: (M, T) mean regret over the rival's; below 1 the method is better. Infinite if the rival's is
            0 and nan if both are.
        low, high: (M, T) 95 % percentile interval.
    """

    methods: list[str]
    trials: list[int]
    rivals: list[list[str]]
    ratio: Array
    low: Array
    high: Array


def relative_regret(aligned: AlignedRuns, trials: Sequence[int]) -> RelativeRegret:
    """Each method's mean regret relative to the best of the others at some trials.

    The mean is that of `mean_normalised_regret`: over seeds, then tasks, then spaces. Tasks are resampled
    within their space, the same for both methods (paired bootstrap, Efron and Tibshirani 1993), while the
    rival stays the one of the full sample; the interval therefore does not tell how sure the choice of the
    rival is, and a rival chosen as the best of many looks a little better than it is.

    Args:
        aligned: of at least two methods.
        trials: entries of the curves.

    Raises:
        InputError: on fewer than two methods or an entry beyond the curves.

    Example:
        >>> from diffhpo.study.stats import align
        >>> curves = {"a": [0.9, 0.95], "b": [0.8, 0.9]}
        >>> runs = {name: {"s": {"t": {"test0": curve}}} for name, curve in curves.items()}
        >>> relative_regret(align(runs), [1]).ratio.round(3).tolist()
        [[0.5], [2.0]]
    """
    if len(aligned.methods) < 2:
        raise InputError(f"results has {len(aligned.methods)} method; a ratio needs two or more")
    length = aligned.incumbents.shape[2]
    for trial in trials:
        if not 0 <= trial < length:
            raise InputError(f"trials names {trial}; the curves have {length} entries")
    tasks, task_of_run = aligned.tasks()
    regret = task_means(aligned.regret[:, :, list(trials)], task_of_run)
    spaces = [space for space, _ in tasks]
    groups = [np.flatnonzero([name == space for name in spaces]) for space in dict.fromkeys(spaces)]
    weights = _weights(groups, len(tasks))
    means = np.einsum("k,mkt->mt", weights[0], regret)
    resampled = np.einsum("bk,mkt->bmt", weights[1:], regret)
    others = np.repeat(means[None], len(means), axis=0)
    others[np.arange(len(means)), np.arange(len(means))] = np.inf
    best = others.argmin(axis=1)
    places = np.arange(len(trials))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = means / means[best, places]
        ratios = resampled / resampled[:, best, places]
        low, high = np.nanpercentile(ratios, [2.5, 97.5], axis=0) if len(tasks) > 1 else (ratio, ratio)
    rivals = [[aligned.methods[other] for other in row] for row in best]
    return RelativeRegret(aligned.methods, list(trials), rivals, ratio, low, high)


def _weights(groups: Sequence[np.ndarray], tasks: int) -> Array:
    """(1 + RESAMPLES, K) weight of each task in the mean: the full sample first, then the resamples."""
    generator = np.random.default_rng(SEED)
    weights = np.zeros((1 + RESAMPLES, tasks))
    for members in groups:
        size = len(members)
        weights[0, members] = 1 / size
        weights[1:, members] = generator.multinomial(size, [1 / size] * size, RESAMPLES) / size
    return weights / len(groups)
