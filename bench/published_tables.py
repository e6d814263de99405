# SPDX-License-Identifier: Apache-2.0
"""The report's tables and figures, from the curves in docs/results.

    python -m bench.published_tables docs/results/hpob-reduced-report --trials 10,25,50 \\
        --methods pretrained-named,pretrained,gp,optuna-gp,elites,tpe,random,cma-es,sobol --figure out.png

prints mean normalised regret with 95% intervals over tasks and average rank. Then, for each of `--ours`, its
regret as a share of every other method's, the tasks on which it is lower, Wilcoxon's test over tasks (Holm's
correction over all pairs of the table), and the share of the best method that is none of `--ours`, with a 95%
interval of a bootstrap over tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from diffhpo.hpob.results import Results, read_results
from diffhpo.study.comparison import compare
from diffhpo.study.figure import save
from diffhpo.study.markdown import markdown_table
from diffhpo.study.plots import rank_and_regret
from diffhpo.study.relative import relative_regret
from diffhpo.study.stats import AlignedRuns, align, average_rank, mean_normalised_regret
from diffhpo.study.style import label_of

OURS = ("pretrained-named", "pretrained")


def table(runs: AlignedRuns, trials: Sequence[int]) -> str:
    """Regret [95% interval] and rank of each method at some trials, by the last of them."""
    regret, rank = mean_normalised_regret(runs), average_rank(runs)
    header = ["method", *[f"regret @{t}" for t in trials], *[f"rank @{t}" for t in trials]]
    rows = [
        [
            label_of(runs.methods[m]),
            *[f"{regret.mean[m, t]:.4f} [{regret.low[m, t]:.3f}, {regret.high[m, t]:.3f}]" for t in trials],
            *[f"{rank.mean[m, t]:.2f}" for t in trials],
        ]
        for m in regret.mean[:, trials[-1]].argsort(kind="stable")
    ]
    return markdown_table(header, rows)


def pairs(runs: AlignedRuns, method: str, trials: Sequence[int]) -> str:
    """The method against every other one: ratio of mean regrets, tasks won, corrected p-value."""
    regret = mean_normalised_regret(runs).mean
    ours = runs.methods.index(method)
    header, cells = ["rival"], {m: [label_of(m)] for m in runs.methods if m != method}
    for trial in trials:
        compared = compare(runs, trial)
        header += [f"ratio @{trial}", f"tasks @{trial}", f"p @{trial}"]
        for rival in cells:
            row = runs.methods.index(rival)
            cells[rival] += [
                f"{regret[ours, trial] / regret[row, trial]:.2f}",
                f"{compared.wins[ours, row]} : {compared.wins[row, ours]}",
                f"{compared.p_value(method, rival):.4f}",
            ]
    return markdown_table(header, list(cells.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="a directory of METHOD.json")
    parser.add_argument("--methods", help="comma-separated; all of the directory without it")
    parser.add_argument("--ours", default=",".join(OURS), help="methods that are compared with the others")
    parser.add_argument("--trials", default="5,10,25,50")
    parser.add_argument("--seeds", help="comma-separated; those that all methods have without it")
    parser.add_argument("--figure", type=Path, help="rank and regret over trials (.png or .svg)")
    arguments = parser.parse_args()
    asked = arguments.methods.split(",") if arguments.methods else None
    names = asked or sorted(path.stem for path in arguments.results.glob("*.json"))
    trials = [int(trial) for trial in arguments.trials.split(",")]
    seeds = arguments.seeds.split(",") if arguments.seeds else None
    found: dict[str, Results] = {
        name: _of_seeds(read_results(arguments.results / f"{name}.json"), seeds) for name in names
    }
    runs = align(found, allow_missing=True)
    print(f"{len(runs.tasks()[0])} tasks, {runs.incumbents.shape[1]} runs of each method\n")
    print(table(runs, trials))
    ours = arguments.ours.split(",")
    for name in ours:
        if name in runs.methods:
            print(f"\n{label_of(name)}: regret as a share of a rival's, tasks lower : higher, p\n")
            print(pairs(runs, name, trials) + "\n")
            rivals = [other for other in names if other == name or other not in ours]
            relative = relative_regret(align({n: found[n] for n in rivals}, allow_missing=True), trials)
            row = relative.methods.index(name)
            for column, trial in enumerate(trials):
                print(
                    f"@{trial}: {relative.ratio[row, column]:.2f} [{relative.low[row, column]:.2f}, "
                    f"{relative.high[row, column]:.2f}] of {label_of(relative.rivals[row][column])}"
                )
    if arguments.figure:
        save(rank_and_regret(average_rank(runs), mean_normalised_regret(runs), bands=False), arguments.figure)


def _of_seeds(results: Results, seeds: Sequence[str] | None) -> Results:
    if seeds is None:
        return results
    return {
        space: {task: {seed: runs[seed] for seed in seeds if seed in runs} for task, runs in tasks.items()}
        for space, tasks in results.items()
    }


if __name__ == "__main__":
    main()
