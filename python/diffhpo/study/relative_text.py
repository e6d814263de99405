# SPDX-License-Identifier: Apache-2.0
"""The section of a report that sets each method against the best of the others."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from diffhpo.study.markdown import markdown_table


def by_regret(summary: dict[str, Any]) -> list[str]:
    """The methods, lowest mean regret at the last trial of the table first."""
    methods: dict[str, Any] = summary["methods"]
    last = summary["trials"][-1]
    return sorted(methods, key=lambda method: methods[method]["mean_normalised_regret"]["mean"][last])


def relative_section(summary: dict[str, Any]) -> list[str]:
    """Regret as a share of the best other method's; nothing for a single method."""
    relative: dict[str, dict[str, Any]] | None = summary["relative"]
    if relative is None:
        return []
    trials = summary["trials"]
    rows = []
    for method in by_regret(summary):
        entry = relative[method]
        cells = []
        for place, rival in enumerate(entry["rival"]):
            ratio, low, high = (entry[name][place] for name in ("ratio", "low", "high"))
            value = "-" if ratio is None else f"{ratio:.2f}"
            ends = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
            cells.append(f"{value}{ends} {_p_value(summary, trials[place], method, rival)}".rstrip())
        rows.append([summary["methods"][method]["label"], *cells])
    return [
        "## Against the best of the others",
        "Mean regret divided by that of the other method with the lowest mean regret at the same trial; "
        "below 1 the method is better. In brackets the 95 % interval of a bootstrap over tasks, paired and "
        "within search spaces; then Wilcoxon's p after Holm's correction over all pairs.",
        markdown_table(["method", *(f"@{trial}" for trial in trials)], rows),
        f"Lowest average rank: {_leaders(summary)}.",
    ]


def _p_value(summary: dict[str, Any], trial: int, method: str, rival: str) -> str:
    for comparison in summary["comparisons"]:
        if comparison["trial"] == trial:
            names = comparison["methods"]
            return f"p={comparison['p_values'][names.index(method)][names.index(rival)]:.2g}"
    return ""


def _leaders(summary: dict[str, Any]) -> str:
    """Which method has the lowest average rank at which trials, from the first on."""
    methods = summary["methods"]
    curves = {name: entry["average_rank"]["mean"] for name, entry in methods.items()}
    last = len(next(iter(curves.values())))
    best = [(min(curves, key=lambda name: curves[name][trial]), trial) for trial in range(1, last)]
    parts = []
    for name, group in groupby(best, key=lambda pair: pair[0]):
        trials = [trial for _, trial in group]
        span = f"trial {trials[0]}" if len(trials) == 1 else f"trials {trials[0]} to {trials[-1]}"
        parts.append(f"{methods[name]['label']} ({span})")
    return ", ".join(parts)
