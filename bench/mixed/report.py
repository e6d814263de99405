# SPDX-License-Identifier: Apache-2.0
"""Regret of the methods on a split: curves in HPO-B's results format, and the tables of docs/mixed_spaces.md.

    PYTHONPATH=python:. python -m bench.mixed.report --out runs/mixed --split report \
        --results docs/results/mixed --page docs/mixed_spaces.md

The part of the page between its two `results` marks is written anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.mixed.rivals import N_INITIAL
from bench.mixed.run import RUNS, is_mixed_run, method_version
from bench.mixed.spaces import UNCONDITIONAL
from bench.mixed.tasks import TASKS

from diffhpo.hpob.results import Results, write_results
from diffhpo.study.aligned_runs import AlignedRuns, align
from diffhpo.study.comparison import compare
from diffhpo.study.journal import read_journal
from diffhpo.study.markdown import markdown_table
from diffhpo.study.relative import relative_regret
from diffhpo.study.stats import average_rank, mean_normalised_regret

LABELS = {
    "diffhpo": "diffhpo",
    "tpe": "Optuna TPE",
    "smac": "SMAC3",
    "optuna-gp": "Optuna GP",
    "random": "random search",
}
#: Suggestions after which the tables tell the regret.
MARKS = (10, 25, 50)
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def latest_runs(path: Path, split: str) -> list[dict[str, Any]]:
    """The last record of each run of a split."""
    records, _ = read_journal(path, sound=is_mixed_run)
    kept = {(r["space"], r["task"], r["seed"], r["method"]): r for r in records}
    return [r for r in kept.values() if (r["space"], r["task"]) in TASKS[split]]


def scales(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[float, float]]:
    """(space, table) -> the values of normalised regret 1 and 0.

    Those are the median of all that random search evaluated, the initial configurations included, and the
    best that any method saw in any run. The worst would be a bad end: the log-loss of a diverged network is
    so far off that all else would look alike.
    """
    drawn: dict[tuple[str, str], list[float]] = {}
    best: dict[tuple[str, str], float] = {}
    for record in records:
        task = (record["space"], record["task"])
        best[task] = max(best.get(task, -np.inf), *record["values"])
        if record["method"] == "random":
            drawn.setdefault(task, []).extend(record["values"])
    return {task: (float(np.median(drawn[task])), best[task]) for task in drawn}


def results_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Results]:
    """method -> curves of 1 - normalised regret, cut to [0, 1], from the initial configurations on."""
    found: dict[str, Results] = {}
    scale = scales(records)
    for record in records:
        low, high = scale[record["space"], record["task"]]
        incumbents = np.maximum.accumulate(record["values"])[N_INITIAL - 1 :]
        curve = np.clip((incumbents - low) / (high - low), 0.0, 1.0).round(9).tolist()
        tasks = found.setdefault(record["method"], {}).setdefault(record["space"], {})
        tasks.setdefault(record["task"], {})[record["seed"]] = curve
    return found


def _counts(aligned: AlignedRuns) -> str:
    tasks, task_of_run = aligned.tasks()
    seeds = np.bincount(task_of_run)
    low, high = int(seeds.min()), int(seeds.max())
    return f"{len(tasks)} tasks, {low if low == high else f'{low} to {high}'} seeds each"


def overall_table(results: Mapping[str, Results]) -> str:
    """Mean regret at the marks with its interval over tasks, mean rank at the last."""
    aligned = align(results, allow_missing=True)
    regret, rank = mean_normalised_regret(aligned), average_rank(aligned)
    order = np.argsort(regret.mean[:, MARKS[-1]])
    rows = []
    for row in order:
        cells = [
            f"{regret.mean[row, m]:.3f} [{regret.low[row, m]:.3f}, {regret.high[row, m]:.3f}]" for m in MARKS
        ]
        rows.append([LABELS[aligned.methods[row]], *cells, f"{rank.mean[row, MARKS[-1]]:.2f}"])
    head = ["method", *(f"regret @{m}" for m in MARKS), f"rank @{MARKS[-1]}"]
    return f"{_counts(aligned)}:\n\n{markdown_table(head, rows)}"


def against_table(results: Mapping[str, Results]) -> str:
    """diffhpo's regret over each other method's, paired by task: ratio, interval, wins and Wilcoxon's p."""
    rows = []
    for rival in (method for method in LABELS if method in results and method != "diffhpo"):
        aligned = align({name: results[name] for name in ("diffhpo", rival)}, allow_missing=True)
        relative = relative_regret(aligned, MARKS)
        cells = [
            f"{relative.ratio[0, k]:.2f} [{relative.low[0, k]:.2f}, {relative.high[0, k]:.2f}]"
            for k in range(len(MARKS))
        ]
        final = compare(aligned)
        wins = f"{final.wins[0, 1]} of {len(final.tasks)}"
        rows.append([LABELS[rival], *cells, wins, f"{final.p_value('diffhpo', rival):.2g}"])
    head = ["against", *(f"@{m}" for m in MARKS), f"tasks won @{MARKS[-1]}", "Wilcoxon's p"]
    return markdown_table(head, rows)


def task_table(results: Mapping[str, Results]) -> str:
    """Mean regret at the last mark, task by task."""
    aligned = align(results, allow_missing=True)
    final = compare(aligned)
    rows = []
    for k, (space, table) in enumerate(final.tasks):
        best = final.regret[:, k].min()
        cells = [f"**{value:.3f}**" if value == best else f"{value:.3f}" for value in final.regret[:, k]]
        rows.append([f"{space} / {table}", *cells])
    return markdown_table(["space / table", *(LABELS[method] for method in final.methods)], rows)


def page_text(results: Mapping[str, Results]) -> str:
    """All tables."""
    everywhere = {name: found for name, found in results.items() if name != "optuna-gp"}
    parts = [
        "### All tasks",
        overall_table(everywhere),
        "diffhpo's mean regret divided by another method's; below 1 diffhpo is better. In brackets the 95 % "
        "interval of a bootstrap over tasks, paired and within spaces. Wilcoxon's p is of the "
        "pair alone, at the last column, not corrected for there being several rivals:",
        against_table(everywhere),
        f"### Task by task: mean regret @{MARKS[-1]}",
        task_table(everywhere),
    ]
    if "optuna-gp" in results:
        fixed = {m: {s: t for s, t in found.items() if s in UNCONDITIONAL} for m, found in results.items()}
        parts += ["### Spaces without conditions", overall_table(fixed), against_table(fixed)]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the curves and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of bench.mixed.run")
    parser.add_argument("--split", choices=list(TASKS), required=True)
    parser.add_argument("--results", type=Path, help="folder that gets METHOD.json")
    parser.add_argument("--page", type=Path, help="page whose results are written anew")
    options = parser.parse_args(arguments)
    records = latest_runs(options.out / RUNS, options.split)
    old = {r["version"] for r in records if r["method"] == "diffhpo"} - {method_version("diffhpo")}
    if old:
        print(f"note: runs of diffhpo are by {sorted(old)}; the code is now {method_version('diffhpo')}")
    results = results_of(records)
    text = page_text(results)
    print(text)
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        for method, found in results.items():
            write_results(options.results / f"{method}.json", found)
    if options.page:
        page = options.page.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        options.page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
