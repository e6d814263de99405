# SPDX-License-Identifier: Apache-2.0
"""Runs every method on every table and seed; one JSON file a run, so that a broken-off grid is continued.

python -m bench.multi_fidelity.run --tables DIR --out runs/multi-fidelity --seeds 5
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import optuna
from bench.multi_fidelity.methods import METHODS
from bench.multi_fidelity.task import MAX_ROUNDS, TABLES, Task, suggest

#: Boosting rounds of one run: what 25 trials cost that are trained to the end.
BUDGET = 25 * MAX_ROUNDS


def run(task: Task, name: str, method: str, seed: int) -> list[tuple[int, int, float]]:
    """One run: (trial, rounds, held-out log-loss) of every report, until the budget is used up."""
    sampler, pruner = METHODS[method]
    # The bracket of a trial under Hyperband is a function of the study's name and the trial's number.
    study = optuna.create_study(study_name=f"{name}-{seed}", sampler=sampler(seed), pruner=pruner())
    reports: list[tuple[int, int, float]] = []
    spent = 0
    while spent < BUDGET:
        trial = study.ask()
        rounds, value, pruned = 0, float("nan"), False
        for rounds, value in task.curve(suggest(trial)):
            reports.append((trial.number, rounds, value))
            trial.report(value, rounds)
            if rounds < MAX_ROUNDS and trial.should_prune():
                pruned = True
                break
        spent += rounds
        study.tell(trial, None if pruned else value, optuna.trial.TrialState.PRUNED if pruned else None)
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of the OpenML tables as CSV")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    tasks = {name: Task(name, arguments.tables) for name in TABLES}
    for seed in range(arguments.seeds):
        for name, task in tasks.items():
            for method in arguments.methods:
                path = arguments.out / name / method / f"{seed}.json"
                if path.exists():
                    continue
                start = time.process_time()
                reports = run(task, name, method, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_text(json.dumps({"seconds": time.process_time() - start, "reports": reports}))
                os.replace(part, path)
                print(name, method, seed, f"{time.process_time() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
