# SPDX-License-Identifier: Apache-2.0
"""What bf16 and int8 change in the samples and in the regret, on validation tasks.

    python -m bench.precision_quality                     samples: two minutes on one core
    python -m bench.precision_quality --seeds 3           and the regret of whole runs: half an hour

prints energy distances between samples of a model trained on 30 trials: at a lower precision against fp32 of
another seed, beside fp32 of two seeds; and the mean distance of a candidate from itself at fp32.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from bench.brief_answers import random_history, trained
from bench.energy_distance import energy_distance
from tqdm import tqdm

from diffhpo.hpob import DiffusionHPO, Task, evaluate_continuous, suite
from diffhpo.model import Denoiser
from diffhpo.recipe import ELITE

PRECISIONS = ("fp32", "bf16", "int8")
_SAMPLES = 2048


def validation_tasks() -> list[Task]:
    """The embedded suite's validation tasks."""
    benchmark = suite.benchmark("validation")
    return [benchmark.task(space, task) for space in benchmark.spaces() for task in benchmark.tasks(space)]


def distances(task: Task, steps: int) -> dict[str, tuple[float, float]]:
    """Precision -> energy distance to fp32 of another seed, mean |x - x at fp32| per coordinate."""
    history = random_history(task, 0)
    trainer = trained(history, ELITE, 500)
    denoiser = Denoiser(trainer.network, trainer.schedule, trainer.transformer)
    context = (torch.tensor(history.x), torch.tensor(history.y))

    def draw(seed: int, precision: str) -> np.ndarray:
        return (
            denoiser.sample(context, _SAMPLES, steps=steps, seed=seed, precision=precision).double().numpy()
        )

    other, own = draw(2, "fp32"), draw(1, "fp32")
    samples = {precision: draw(1, precision) for precision in PRECISIONS}
    return {
        precision: (energy_distance(x, other), float(np.abs(x - own).mean()))
        for precision, x in samples.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=0, help="of whole runs, for the regret")
    parser.add_argument("--trials", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tasks = validation_tasks()

    print("steps\tprecision\tenergy distance to fp32 of another seed, per task\tmean |x - x at fp32|")
    for steps in (20, 1000):
        found = [distances(task, steps) for task in tqdm(tasks, desc=f"{steps} steps", leave=False)]
        for precision in PRECISIONS:
            energies = " ".join(f"{row[precision][0]:+.5f}" for row in found)
            print(
                steps, precision, energies, f"{np.mean([row[precision][1] for row in found]):.5f}", sep="\t"
            )

    if arguments.seeds:
        shown = [trial for trial in (10, 20, 30, 50) if trial <= arguments.trials]
        print(
            "precision", *[f"regret@{trial}" for trial in shown], "standard error of the difference", sep="\t"
        )
        runs = [(task, seed) for task in tasks for seed in range(arguments.seeds)]
        regrets: dict[str, np.ndarray] = {}
        for precision in PRECISIONS:
            recipe = replace(ELITE, precision=precision)
            curves = [
                evaluate_continuous(
                    DiffusionHPO(seed, recipe=recipe),
                    task,
                    f"test{seed % 5}",
                    arguments.trials,
                    corrected=True,
                ).incumbents
                for task, seed in tqdm(runs, desc=precision, leave=False)
            ]
            regrets[precision] = 1 - np.array(curves)[:, shown]
            gap = regrets[precision] - regrets["fp32"]
            error = gap.std(axis=0, ddof=1) / len(runs) ** 0.5
            print(precision, *regrets[precision].mean(axis=0).round(4), error.round(4), sep="\t")


if __name__ == "__main__":
    main()
