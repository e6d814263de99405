# SPDX-License-Identifier: Apache-2.0
"""Compares variants of the elite recipe on validation tasks, never on those that a report shows.

    python -m bench.choose_recipe --seeds 3 --trials 30
    python -m bench.choose_recipe --hpob DIR --seeds 2 --trials 50

prints the mean normalised regret of each variant and of two baselines. About half an hour on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from diffhpo.baselines import BASELINES
from diffhpo.hpob import Benchmark, DiffusionHPO, Task, evaluate_continuous, suite
from diffhpo.recipe import ELITE
from diffhpo.suites.splits import HPOB_REDUCED

VARIANTS = {
    "elite": ELITE,
    "always climb": replace(ELITE, climb_every=1),
    "never climb": replace(ELITE, climb_every=0),
    "never climb, samples only": replace(ELITE, climb_every=0, uniform_candidates=0),
    "256 samples": replace(ELITE, candidates=256, uniform_candidates=256),
    "no warp": replace(ELITE, warp=False),
    "jitter .2": replace(ELITE, jitter=0.2),
}


def validation_tasks(hpob: Path | None) -> list[Task]:
    """The embedded suite's validation tasks, or the first two of each of HPO-B's choice spaces."""
    if hpob is None:
        benchmark = suite.benchmark("validation")
        return [
            benchmark.task(space, task) for space in benchmark.spaces() for task in benchmark.tasks(space)
        ]
    benchmark = Benchmark(hpob)
    spaces = [space for space in HPOB_REDUCED["choice"] if space in benchmark.spaces()]
    return [benchmark.task(space, task) for space in spaces for task in benchmark.tasks(space)[:2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--hpob", type=Path, help="a directory in HPO-B's format; the embedded suite without it"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    methods: dict[str, Callable[[int], Any]] = {name: BASELINES[name] for name in ("gp", "elites")}
    for name, recipe in VARIANTS.items():
        methods[name] = lambda seed, recipe=recipe: DiffusionHPO(seed, recipe=recipe)
    tasks = validation_tasks(arguments.hpob)
    shown = [trial for trial in (5, 10, 20, 30, 50) if trial <= arguments.trials]
    print("method", *[f"@{trial}" for trial in shown], sep="\t")
    for name, make in methods.items():
        runs = [(task, seed) for task in tasks for seed in range(arguments.seeds)]
        curves = [
            evaluate_continuous(make(seed), task, f"test{seed}", arguments.trials, corrected=True).incumbents
            for task, seed in tqdm(runs, desc=name, leave=False)
        ]
        print(name, *(1 - np.mean(curves, axis=0)[shown]).round(4), sep="\t")


if __name__ == "__main__":
    main()
