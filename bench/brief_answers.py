# SPDX-License-Identifier: Apache-2.0
"""The measurements behind the answers in docs/report.md: permutation, loss, cost and quality of sampling.

    python -m bench.brief_answers --out docs/figures

writes loss.png and prints a JSON object of the figures that the report quotes.
It takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.energy_distance import energy_distance
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

from diffhpo.history import History
from diffhpo.hpob import suite
from diffhpo.hpob.task import Task
from diffhpo.model import ContextBatch, Denoiser, Network, Trainer, Transformer
from diffhpo.recipe import BRIEF, ELITE, Recipe

#: Trials that the model is trained on here: 5 initial ones and 25 of a run.
TRIALS = 30


def random_history(task: Task, seed: int) -> History:
    """The first TRIALS rows of a random order of the task's table."""
    rows = np.random.default_rng(seed).permutation(len(task.y))[:TRIALS]
    return History(task.x[rows], task.y[rows])


def trained(history: History, recipe: Recipe, steps: int, seed: int = 0) -> Trainer:
    """A model trained on one history as HistoryPolicy does it."""
    torch.manual_seed(seed)
    trainer = Trainer(
        Network(history.dim, context_width=recipe.context_width),
        Transformer(history.dim, width=recipe.context_width),
        seed=seed,
    )
    trainer.fit(recipe.sampler(history), steps)
    return trainer


def permutation(history: History, trainer: Trainer) -> dict[str, float]:
    """Largest change of the embedding when trials are permuted, as built and with positions added to x."""
    transformer = trainer.transformer.double()
    x, y = torch.tensor(history.x), torch.tensor(history.y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    position = torch.linspace(0, 1, len(y), dtype=torch.float64).unsqueeze(1)

    def embed(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return transformer(ContextBatch.single(x, y)).pooled

    changes = {
        "as built": (embed(x, y) - embed(x[order], y[order])).abs().max().item(),
        "with positions": (embed(x + position, y) - embed(x[order] + position, y[order])).abs().max().item(),
        "scale of the embedding": embed(x, y).abs().mean().item(),
    }
    transformer.float()
    return changes


def loss_figure(histories: list[History], path: Path) -> dict[str, dict[str, float]]:
    """Loss against training step for both recipes; mean and range over the histories."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    summary = {}
    for (name, recipe), colour in zip(
        (("brief", BRIEF), ("elite", ELITE)), ("#999999", "#0072B2"), strict=True
    ):
        losses = np.array([trained(history, recipe, 1500).losses for history in histories])
        smooth = np.apply_along_axis(np.convolve, 1, losses, np.full(50, 1 / 50), "valid")
        step = np.arange(smooth.shape[1]) + 25
        axes.plot(step, smooth.mean(0), color=colour, label=f'recipe="{name}"')
        axes.fill_between(step, smooth.min(0), smooth.max(0), color=colour, alpha=0.2, linewidth=0)
        summary[name] = {
            "first step": float(losses[:, 0].mean()),
            "steps 1 to 50": float(losses[:, :50].mean()),
            "steps 251 to 300": float(losses[:, 250:300].mean()),
            "last 50 of 1500": float(losses[:, -50:].mean()),
        }
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.text(1500, 1.01, "predicting no noise", ha="right", va="bottom", fontsize=9)
    axes.set(
        xlabel="training step (batch 16)", ylabel="loss (mean squared error of the noise)", ylim=(0, 1.15)
    )
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return summary


def reverse_steps(task: Task, history: History, trainer: Trainer) -> dict[str, dict[str, float]]:
    """What fewer reverse steps, guidance and the flag do to 512 samples."""
    denoiser = Denoiser(trainer.network, trainer.schedule, trainer.transformer)
    context = (torch.tensor(history.x), torch.tensor(history.y))

    def draw(**options: Any) -> np.ndarray:
        return denoiser.sample(context, 512, **{"seed": 1, **options}).double().numpy()

    whole = draw(steps=1000, seed=2)
    low, high = task.y_min, task.y_max
    table = {}
    for name, options in {
        "ddpm 1000": {"steps": 1000},
        "ddpm 100": {"steps": 100},
        "ddpm 20": {"steps": 20},
        "ddpm 5": {"steps": 5},
        "ddim 50": {"steps": 50, "method": "ddim"},
        "ddim 20": {"steps": 20, "method": "ddim"},
        "ddpm 20, I = 0": {"steps": 20, "improve": False},
        "ddpm 20, guidance 1": {"steps": 20, "guidance": 1.0},
        "ddpm 20, guidance 3": {"steps": 20, "guidance": 3.0},
    }.items():
        samples = draw(**options)
        table[name] = {
            "mean y": float(((task.surrogate(samples) - low) / (high - low)).mean()),
            "mean pair distance": float(cdist(samples, samples).sum() / (512 * 511)),
            "energy distance to ddpm 1000": energy_distance(samples, whole),
        }
    uniform = np.random.default_rng(0).random((512, task.dim))
    table["uniform"] = {
        "mean y": float(((task.surrogate(uniform) - low) / (high - low)).mean()),
        "mean pair distance": float(cdist(uniform, uniform).sum() / (512 * 511)),
        "energy distance to ddpm 1000": energy_distance(uniform, whole),
    }
    return table


def milliseconds(calls: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """Median wall time of each call, the calls interleaved."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(float(np.median(values)), 3) for name, values in times.items()}


def sampling_cost(history: History, trainer: Trainer) -> dict[str, float]:
    """Milliseconds of drawing samples in several ways, one thread."""
    denoiser = Denoiser(trainer.network, trainer.schedule, trainer.transformer)
    context = (torch.tensor(history.x), torch.tensor(history.y))

    def draw(n: int, **options: Any) -> Callable[[], Any]:
        return lambda: denoiser.sample(context, n, threads=1, **options)

    return milliseconds(
        {
            "1 sample, 1000 steps, torch loop": draw(1, executor="reference"),
            "1 sample, 1000 steps, fused loop": draw(1, executor="cpu"),
            "256 samples, 1000 steps, torch loop": draw(256, executor="reference"),
            "256 samples, 1000 steps, fused loop": draw(256, executor="cpu"),
            "256 samples, 20 steps, torch loop": draw(256, steps=20, executor="reference"),
            "256 samples, 20 steps, fused loop": draw(256, steps=20, executor="cpu"),
            "256 calls of 1 sample, 20 steps, fused loop": lambda: [
                denoiser.sample(context, 1, steps=20, threads=1, first_candidate=i) for i in range(256)
            ],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    # Validation tasks: nothing here may look at the tasks that the report's tables use.
    benchmark = suite.benchmark("validation")
    space = benchmark.spaces()[0]
    tasks = [benchmark.task(space, name) for name in benchmark.tasks(space)]
    histories = [random_history(task, seed) for seed, task in enumerate(tasks)]
    models = [trained(history, ELITE, 300) for history in histories]

    tables = [reverse_steps(*part) for part in zip(tasks, histories, models, strict=True)]
    mean_table = {
        row: {key: round(float(np.mean([t[row][key] for t in tables])), 4) for key in tables[0][row]}
        for row in tables[0]
    }
    figures = {
        "permutation": permutation(histories[0], models[0]),
        "loss": loss_figure(histories, arguments.out / "loss.png"),
        "samples, mean over validation tasks": mean_table,
        "milliseconds": sampling_cost(histories[0], models[0]),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
