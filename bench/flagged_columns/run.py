# SPDX-License-Identifier: Apache-2.0
"""diffhpo and its rivals on tasks with HPO-B's own columns.

    PYTHONPATH=python:. python -m bench.flagged_columns.run --tables DIR --out runs/flagged --seeds 5

DIR holds the OpenML tables as CSV with MANIFEST.json. Finished runs are kept in OUT/runs.jsonl and not
repeated. All methods but "diffhpo, names" are told numbers in the unit cube and nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.flagged_columns.learners import SPACES
from bench.flagged_columns.tasks import TABLES, column_names, open_flagged
from scipy.stats import rankdata
from tqdm import tqdm

from diffhpo.baselines import BASELINES
from diffhpo.hpob import DiffusionHPO, evaluate_continuous
from diffhpo.study.journal import encode_line, read_journal

#: Rivals by the names that the report has.
RIVALS = {"Optuna GP": "optuna-gp", "GP": "gp", "TPE": "tpe", "random": "random"}
METHODS = ("diffhpo, names", "diffhpo", *RIVALS)


def _method(name: str, seed: int, names: list[str]) -> Any:
    if name in RIVALS:
        return BASELINES[RIVALS[name]](seed)
    return DiffusionHPO(seed=seed, names=names if name == "diffhpo, names" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(1)
    suite = open_flagged(options.tables, options.out)
    journal = options.out / "runs.jsonl"
    fields = {"method", "space", "table", "seed", "trials", "regret"}
    records, size = read_journal(journal, sound=lambda record: set(record) == fields)
    done = {(r["method"], r["space"], r["table"], r["seed"], r["trials"]): r["regret"] for r in records}
    wanted = [
        (method, space, table, seed, options.trials)
        for space in SPACES
        for table in TABLES
        for seed in range(options.seeds)
        for method in METHODS
    ]
    with journal.open("ab") as file:
        file.truncate(size)
        for key in tqdm([key for key in wanted if key not in done], unit="run"):
            method, space, table, seed, trials = key
            task = suite.task(space, table)
            made = _method(method, seed, column_names(space, options.out))
            record = evaluate_continuous(made, task, f"test{seed}", trials, corrected=True)
            done[key] = [1 - value for value in record.incumbents]
            values = dict(zip(("method", "space", "table", "seed", "trials"), key, strict=True))
            file.write(encode_line(values | {"regret": done[key]}))
            file.flush()
    shape = (len(SPACES) * len(TABLES), options.seeds, len(METHODS), options.trials + 1)
    regret = np.array([done[key] for key in wanted]).reshape(shape)
    rank = rankdata(regret.round(8), axis=2).mean(axis=(0, 1))
    shown = [trial for trial in (1, 5, 10, 25, 50) if trial <= options.trials]
    print("| method |", *[f"@{t} |" for t in shown], *[f"rank @{t} |" for t in shown])
    print("|:--|" + "--:|" * 2 * len(shown))
    means = regret.mean(axis=1)
    for index, method in enumerate(METHODS):
        errors = (means[:, index] - means[:, 1]).std(axis=0, ddof=1) / len(means) ** 0.5
        cells = [f"{means[:, index, t].mean():.4f} (±{errors[t]:.3f})" for t in shown]
        print(f"| {method} |", " | ".join(cells + [f"{rank[index, t]:.2f}" for t in shown]), "|")
    print("In brackets the standard error, over tasks, of the difference to diffhpo told nothing.")


if __name__ == "__main__":
    main()
