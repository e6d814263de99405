# SPDX-License-Identifier: Apache-2.0
"""Compares settings of the pretrained policy on validation tasks, never on those that a report shows.

    python -m bench.choose_pretrained --seeds 2 --trials 25 [--weights FILE]

prints mean normalised regret and average rank of each variant, of the Gaussian process and of the control, on
HPO-B's choice spaces (29 tasks), X48's six validation tables, the embedded suite's four validation tasks and
BBOB's 24 functions in four dimensions, which have no names and are averaged apart.
Two runs of one setting were seen to differ by .01 to .03 on fewer tasks: take five seeds, and let no smaller
difference choose. Several hours on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from tqdm import tqdm

from diffhpo.baselines import BASELINES
from diffhpo.hpob import DiffusionHPO, Task, evaluate_continuous
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.pretrained import pretrained_model
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.suites import open_suite
from diffhpo.suites.column_names import column_names

#: What is averaged apart -> suites and splits.
VALIDATION = {
    "tuning": (("hpob-reduced", "choice"), ("x48", "validation"), ("embedded", "validation")),
    "BBOB": (("bbob", "validation"),),
}

VARIANTS: dict[str, dict[str, Any]] = {
    "evidence": {"rank_with": "evidence"},
    "evidence, own axes": {"rank_with": "evidence", "log_axes": False},
    "predictor": {"rank_with": "predictor"},
    "predictor without noise": {"rank_with": "predictor", "noisy": False},
    "predictor, not refined": {"rank_with": "predictor", "refinements": 0},
    "both": {"rank_with": "both"},
    "diffusion alone": {
        "rank_with": "predictor",
        "generated": 384,
        "spread": 0,
        "elites": 0,
        "refinements": 0,
    },
    "no diffusion": {"rank_with": "predictor", "generated": 0, "elites": 192},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a checkpoint; the package's own without it")
    parser.add_argument(
        "--methods",
        help="separated by semicolons: gp, elites, a variant, or 'VARIANT, names'; all without it",
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=25)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_universal(arguments.weights).model.eval() if arguments.weights else pretrained_model()

    def named(task: Task) -> tuple[str, ...] | None:
        return column_names(task.space, task.dim)

    methods: dict[str, Callable[[int, Task], Any]] = {
        name: lambda seed, _, name=name: BASELINES[name](seed) for name in ("gp", "elites")
    }
    for name, recipe in VARIANTS.items():
        for told in (False, True):
            methods[name + (", names" if told else "")] = lambda seed, task, recipe=recipe, told=told: (
                DiffusionHPO(
                    policy=PretrainedPolicy(
                        model, seed=seed, recipe=recipe, names=named(task) if told else None
                    )
                )
            )
    asked = arguments.methods.split(";") if arguments.methods else list(methods)
    if unknown := [name for name in asked if name not in methods]:
        parser.error(f"--methods has {unknown}; accepted: {', '.join(methods)}")
    methods = {name: methods[name] for name in asked}
    shown = [trial for trial in (1, 3, 5, 10, 15, 25, 50) if trial <= arguments.trials]
    for group, suites in VALIDATION.items():
        opened = [open_suite(*where) for where in suites]
        tasks = [
            suite.task(space, task)
            for suite in opened
            for space in suite.spaces()
            for task in suite.tasks(space)
        ]
        runs = [(task, seed) for task in tasks for seed in range(arguments.seeds)]
        regret = np.array(
            [
                [
                    1
                    - np.array(
                        evaluate_continuous(
                            make(seed, task), task, f"test{seed}", arguments.trials, corrected=True
                        ).incumbents
                    )[shown]
                    for task, seed in tqdm(runs, desc=f"{group}, {name}", leave=False)
                ]
                for name, make in methods.items()
            ]
        )
        rank = rankdata(regret.round(8), axis=0).mean(axis=1)
        print(group, *[f"@{trial}" for trial in shown], *[f"rank @{trial}" for trial in shown], sep="\t")
        for name, means, ranks in zip(methods, regret.mean(axis=1), rank, strict=True):
            print(name, *means.round(4), *ranks.round(2), sep="\t")


if __name__ == "__main__":
    main()
