# SPDX-License-Identifier: Apache-2.0
"""Paired comparison of methods over tasks: Friedman's test, then Wilcoxon's with Holm's correction.

The unit is the task: its regret is the mean over its seeds, rounded to 8 decimals. (HPO-B's own diagrams
take every seed for an independent sample, which makes differences look surer than they are.) Every task
counts alike, whatever its space. Procedure: Demsar (2006), "Statistical Comparisons of Classifiers over
Multiple Data Sets", JMLR 7, with Wilcoxon tests after Benavoli et al. (2016), JMLR 17.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.hpob.results import Results
from diffhpo.study.aligned_runs import RANK_DECIMALS, AlignedRuns, Array, align, rank_rows
from diffhpo.study.stats import task_means


@dataclass(frozen=True)
class Comparison:
    """How methods compare at one entry of their curves.

    `scikit_posthocs.critical_difference_diagram(dict(zip(c.methods, c.ranks)), DataFrame(c.p_values,
    c.methods, c.methods))` draws the diagram.
    """

    methods: list[str]
    index: int
    """Entry of the curves that was compared."""
    tasks: list[tuple[str, str]]
    """(space, task) of the K tasks."""
    regret: Array
    """(M, K) mean regret over the seeds of each task."""
    ranks: Array
    """(M,) mean over tasks of the rank of that regret; 1 is best, ties share their mean."""
    friedman_p: float
    """P-value of "all methods rank alike" (Friedman 1937); nan for fewer than three methods."""
    p_values: Array
    """(M, M) two-sided p-values of the paired Wilcoxon tests after Holm's correction; 1 on the diagonal."""
    wins: NDArray[np.intp]
    """(M, M) tasks on which the method of the row has lower regret than that of the column."""

    def p_value(self, first: str, second: str) -> float:
        """Corrected p-value of one pair.

        Raises:
            InputError: if there is no such method.
        """
        for method in (first, second):
            if method not in self.methods:
                raise InputError(f"method {method!r} is not among {', '.join(self.methods)}")
        return float(self.p_values[self.methods.index(first), self.methods.index(second)])


def compare(
    results: Mapping[str, Results] | AlignedRuns,
    index: int = -1,
    *,
    n_points: int | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """Compare methods task by task at one entry of their curves.

    Wilcoxon's signed-rank test counts tied tasks as Pratt (1959) does: they are ranked, then left out.

    Args:
        results: method -> results, or runs that `align` put together.
        index: entry of the curves; negative counts from the end.
        n_points, allow_missing: as in `align`.

    Raises:
        InputError: on fewer than two methods, fewer than two tasks, or an index beyond the curves.
        DataError: listing the runs that a method lacks.
    """
    aligned = results
    if not isinstance(aligned, AlignedRuns):
        aligned = align(aligned, n_points=n_points, allow_missing=allow_missing)
    methods, length = aligned.methods, aligned.incumbents.shape[2]
    if len(methods) < 2:
        raise InputError(f"results has {len(methods)} method; a comparison needs two or more")
    if not -length <= index < length:
        raise InputError(f"index is {index}; the curves have {length} entries")
    tasks, task_of_run = aligned.tasks()
    if len(tasks) < 2:
        raise InputError(f"the results share {len(tasks)} task; a comparison needs two or more")
    regret = task_means(aligned.regret[:, :, [index]], task_of_run)[:, :, 0].round(RANK_DECIMALS)
    return Comparison(
        methods,
        index % length,
        tasks,
        regret,
        rank_rows(regret).mean(axis=1),
        _friedman(regret),
        _wilcoxon_holm(regret),
        (regret[:, None] < regret[None]).sum(axis=2),
    )


def _friedman(regret: Array) -> float:
    from scipy import stats

    if len(regret) < 3:
        return float("nan")
    if (regret == regret[0]).all():
        return 1.0
    return float(stats.friedmanchisquare(*regret).pvalue)


def _wilcoxon_holm(regret: Array) -> Array:
    from scipy import stats

    methods = len(regret)
    rows, columns = np.triu_indices(methods, k=1)
    p = np.ones(len(rows))
    for pair, (i, j) in enumerate(zip(rows, columns, strict=True)):
        if (regret[i] != regret[j]).any():
            p[pair] = stats.wilcoxon(regret[i], regret[j], zero_method="pratt").pvalue
    # Holm (1979): multiply the k-th smallest of m by m - k, and let no later one be smaller.
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    table = np.ones((methods, methods))
    table[rows, columns] = table[columns, rows] = corrected
    return table
