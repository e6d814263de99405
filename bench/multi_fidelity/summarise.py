# SPDX-License-Identifier: Apache-2.0
"""From runs to a table: regret after a budget of boosting rounds, and paired differences over tables.

python -m bench.multi_fidelity.summarise --runs runs/multi-fidelity --out docs/results/multi-fidelity

Regret is (incumbent - best) / (median - best) in held-out log-loss. The incumbent is the lowest value that a
run has reported so far, at whatever number of rounds: a model is stopped where it was best. `best` is the
lowest value that any run on the table has found, `median` that of configurations which random search trained
to the end; so 1 is a random configuration and 0 the best known. Means are over seeds, then over tables;
intervals are 95 % Student-t over tables, as seeds of one table are not independent.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from bench.multi_fidelity.methods import METHODS
from bench.multi_fidelity.run import BUDGET
from bench.multi_fidelity.task import MAX_ROUNDS, TABLES
from numpy.typing import NDArray
from scipy.stats import t as student

Array = NDArray[np.float64]

#: Budgets at which the table has a column, in trials trained to the end.
BUDGETS = (2, 5, 10, 15, 20, 25)
#: Methods that differences are taken of, and against.
PAIRS = (
    ("diffhpo+hyperband", "random"),
    ("diffhpo+hyperband", "successive-halving"),
    ("diffhpo+hyperband", "hyperband"),
    ("diffhpo+hyperband", "bohb"),
    ("diffhpo+hyperband", "diffhpo"),
    ("diffhpo", "tpe"),
)


def spent(reports: list[tuple[int, int, float]]) -> Array:
    """Rounds trained up to and with each report of a run.

    Example:
        >>> spent([(0, 3, 0.5), (0, 9, 0.4), (1, 3, 0.6)]).tolist()
        [3.0, 9.0, 12.0]
    """
    total, before, number = 0, 0, -1
    found = []
    for trial, rounds, _ in reports:
        before = before if trial == number else 0
        total, before, number = total + rounds - before, rounds, trial
        found.append(float(total))
    return np.array(found)


def incumbent(reports: list[tuple[int, int, float]], budgets: Array) -> Array:
    """Lowest value reported within each budget of rounds; inf before the first report.

    Example:
        >>> incumbent([(0, 3, 0.5), (0, 9, 0.4), (1, 3, 0.6)], np.array([2.0, 3.0, 12.0])).tolist()
        [inf, 0.5, 0.4]
    """
    values = np.minimum.accumulate([value for _, _, value in reports])
    place = np.searchsorted(spent(reports), budgets, side="right")
    return np.concatenate([[np.inf], values])[place]


def interval(by_table: Array) -> tuple[float, float, float]:
    """Mean and 95 % interval of (tables,) values."""
    mean, count = by_table.mean(), len(by_table)
    half = student.ppf(0.975, count - 1) * by_table.std(ddof=1) / np.sqrt(count)
    return float(mean), float(mean - half), float(mean + half)


def load(folder: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """(table, method, seed) -> the run's file, of the seeds that all methods have."""
    found = {}
    for path in sorted(folder.glob("*/*/*.json")):
        found[path.parts[-3], path.parts[-2], int(path.stem)] = json.loads(path.read_text())
    seeds = {seed for _, _, seed in found}
    whole = {s for s in seeds if all((table, method, s) in found for table in TABLES for method in METHODS)}
    return {key: run for key, run in found.items() if key[2] in whole}


def regrets(runs: dict[tuple[str, str, int], dict[str, Any]], budgets: Array) -> dict[str, Array]:
    """method -> (tables, budgets): normalised regret, the mean over seeds."""
    seeds = sorted({seed for _, _, seed in runs})
    found: dict[str, list[Array]] = {method: [] for method in METHODS}
    for table in TABLES:
        own = {key: run["reports"] for key, run in runs.items() if key[0] == table}
        best = min(value for reports in own.values() for _, _, value in reports)
        at_the_end = [
            value
            for (_, method, _), reports in own.items()
            for _, rounds, value in reports
            if method == "random" and rounds == MAX_ROUNDS
        ]
        width = np.median(at_the_end) - best
        for method in METHODS:
            curves = [incumbent(own[table, method, seed], budgets) for seed in seeds]
            found[method].append((np.mean(curves, axis=0) - best) / width)
    return {method: np.array(rows) for method, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = load(arguments.runs)
    seeds = sorted({seed for _, _, seed in runs})
    if not seeds:
        parser.error(f"{arguments.runs} has no seed for which every table and method has been run")
    found = regrets(runs, np.array(BUDGETS, dtype=np.float64) * MAX_ROUNDS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "regret.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "table", *(f"budget_{budget}" for budget in BUDGETS)])
        for method, rows in found.items():
            for table, row in zip(TABLES, rows, strict=True):
                writer.writerow([method, table, *(f"{value:.5f}" for value in row)])
    summary = {
        "tables": list(TABLES),
        "seeds": len(seeds),
        "budget_rounds": BUDGET,
        "budgets": list(BUDGETS),
        "methods": {
            method: {
                "regret": [round(float(value), 4) for value in rows.mean(axis=0)],
                "trials": round(_trials(runs, method), 1),
                "seconds": round(_seconds(runs, method), 2),
            }
            for method, rows in found.items()
        },
        "differences": [
            {
                "of": first,
                "against": second,
                "budget": budget,
                "mean_low_high": [round(v, 4) for v in interval(found[first][:, k] - found[second][:, k])],
                "tables_better": int((found[first][:, k] < found[second][:, k]).sum()),
            }
            for first, second in PAIRS
            for k, budget in enumerate(BUDGETS)
            if budget in (5, 10, 25)
        ],
    }
    (arguments.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _print(summary)


def _trials(runs: dict[tuple[str, str, int], dict[str, Any]], method: str) -> float:
    return float(np.mean([run["reports"][-1][0] + 1 for key, run in runs.items() if key[1] == method]))


def _seconds(runs: dict[tuple[str, str, int], dict[str, Any]], method: str) -> float:
    return float(np.mean([run["seconds"] for key, run in runs.items() if key[1] == method]))


def _print(summary: dict[str, Any]) -> None:
    print(f"{len(summary['tables'])} tables, {summary['seeds']} seeds, regret after so many full trainings")
    print("| method | " + " | ".join(str(b) for b in summary["budgets"]) + " | trials |")
    print("|---" * (len(summary["budgets"]) + 2) + "|")
    for method, row in summary["methods"].items():
        print(f"| {method} | " + " | ".join(f"{v:.3f}" for v in row["regret"]) + f" | {row['trials']:.0f} |")
    for row in summary["differences"]:
        mean, low, high = row["mean_low_high"]
        print(
            f"{row['of']} - {row['against']} at {row['budget']}: {mean:+.3f} ({low:+.3f} to {high:+.3f}), "
            f"better on {row['tables_better']} of {len(summary['tables'])}"
        )


if __name__ == "__main__":
    main()
