# SPDX-License-Identifier: Apache-2.0
"""How well predictive distributions fit real tasks: calibration error and log-likelihood.

    python -m bench.predictor_calibration --suite hpob-reduced:choice --models gp,gp-power,my_module:Model

For each task, context size and seed a model sees n evaluated configurations and predicts others, which are

* `uniform`: context and queries are drawn uniformly from the cube;
* `trajectory`: the context is the first n configurations of an optimisation run (jittered elites ranked by a
  Gaussian process); the queries are candidates around its good ones, from which such a run chooses, and the
  configuration that it chose. Later ones of the run would not do: they were chosen with knowledge of values
  that the model does not see, so that no prediction could be calibrated on them.

Values are the surrogate's, standardised by their mean and deviation over 2,048 uniform points of the task;
log densities are in these units. A model is `gp`, `gp-rank`, `gp-power` or `pretrained`
(`bench/calibration_models.py`), or module:Class, made without arguments, with
`predict(x_context, y_context, x_query)`.

The expected calibration error is the mean over the levels .05, .10, ..., .95 of |share of queries whose
probability integral is at most the level - level| (Kuleshov et al. 2018, arXiv 1807.00263; table 4 of the
OptFormer paper, arXiv 2205.13320), over all queries of all tasks; every task has equally many.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.calibration_models import GaussianProcessModel, Model, PretrainedModel
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from diffhpo.baselines import JitteredElites
from diffhpo.history import History
from diffhpo.hpob import evaluate_continuous
from diffhpo.hpob.task import Task
from diffhpo.study.markdown import markdown_table
from diffhpo.suites import open_suite

Array = NDArray[np.float64]

LEVELS = np.arange(1, 20) / 20
SIZES = (5, 10, 20, 50)
KINDS = ("uniform", "trajectory")
#: Queries of one context.
QUERIES = 60
SCALING_POINTS = 2048
RESAMPLES = 1000

MODELS = {
    "gp": GaussianProcessModel,
    "gp-rank": partial(GaussianProcessModel, "rank"),
    "gp-power": partial(GaussianProcessModel, "power"),
    "pretrained": PretrainedModel,
}


def make_model(name: str) -> Model:
    """A model by its name, or module:Class."""
    if name in MODELS:
        return MODELS[name]()
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)()


def calibration_error(integrals: Array) -> float:
    """Expected calibration error of probability integrals, of any shape."""
    return float(np.abs(np.mean(integrals.ravel()[:, None] <= LEVELS, axis=0) - LEVELS).mean())


class Contexts:
    """Contexts and queries of one task, the same for every model.

    Args:
        task: it needs a surrogate.
        sizes: n.
    """

    def __init__(self, task: Task, sizes: Sequence[int]) -> None:
        self._task = task
        sample = task.surrogate(self._uniform("scaling", 0, SCALING_POINTS))
        self._mean, self._deviation = sample.mean(), sample.std() or 1.0
        self._runs: dict[int, Array] = {}
        self._longest = max(sizes) + 1

    def _uniform(self, purpose: str, seed: int, count: int) -> Array:
        entropy = [*f"{self._task.space}/{self._task.name}/{purpose}".encode(), seed]
        return np.random.default_rng(entropy).random((count, self._task.dim))

    def _value(self, x: Array) -> Array:
        return (self._task.surrogate(x) - self._mean) / self._deviation

    def draw(self, kind: str, size: int, seed: int) -> tuple[Array, Array, Array, Array]:
        """x (n, d), y (n,), queries (QUERIES, d) and their values (QUERIES,)."""
        if kind == "uniform":
            x = self._uniform("context", seed, size)
            queries = self._uniform("queries", seed, QUERIES)
        else:
            run = self._trajectory(seed)
            x, elites = run[:size], JitteredElites(candidates=QUERIES - 1)
            candidates = elites.draw(History(x, self._value(x)), 1000 * seed + size)
            queries = np.concatenate([candidates, run[size : size + 1]])
        return x, self._value(x), queries, self._value(queries)

    def _trajectory(self, seed: int) -> Array:
        if seed not in self._runs:
            method, trials = JitteredElites(seed), self._longest - 5
            self._runs[seed] = evaluate_continuous(method, self._task, f"test{seed}", trials).x
        return self._runs[seed]


def measure(
    models: dict[str, Model], tasks: Sequence[Task], *, seeds: int = 3, sizes: Sequence[int] = SIZES
) -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """model -> kind -> n -> figures, with 95 % intervals over tasks.

    Args:
        models: what is measured.
        tasks: at least two.
        seeds: contexts of each size and kind in every task.
        sizes: n.
    """
    shape = (len(tasks), seeds, QUERIES)
    integrals = {(name, kind, n): np.empty(shape) for name in models for kind in KINDS for n in sizes}
    densities = {key: np.empty(shape) for key in integrals}
    for place, task in enumerate(tqdm(tasks, leave=False)):
        contexts = Contexts(task, sizes)
        for kind in KINDS:
            for n in sizes:
                for seed in range(seeds):
                    x, y, queries, values = contexts.draw(kind, n, seed)
                    for name, model in models.items():
                        prediction = model.predict(x, y, queries)
                        integrals[name, kind, n][place, seed] = np.asarray(prediction.cdf(values))
                        densities[name, kind, n][place, seed] = np.asarray(prediction.log_prob(values))
    table: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    for (name, kind, n), values in integrals.items():
        table.setdefault(name, {}).setdefault(kind, {})[n] = _figures(values, densities[name, kind, n])
    return table


def _figures(integrals: Array, densities: Array) -> dict[str, Any]:
    tasks = len(integrals)
    generator = np.random.default_rng(0)
    resampled = [
        calibration_error(integrals[generator.integers(tasks, size=tasks)]) for _ in range(RESAMPLES)
    ]
    by_task = densities.mean(axis=(1, 2))
    half = stats.t.ppf(0.975, tasks - 1) * by_task.std(ddof=1) / np.sqrt(tasks)
    return {
        "ece": calibration_error(integrals),
        "ece_interval": np.percentile(resampled, [2.5, 97.5]).tolist(),
        "ece_of_one_task": float(np.mean([calibration_error(part) for part in integrals])),
        "log_likelihood": float(by_task.mean()),
        "log_likelihood_interval": [float(by_task.mean() - half), float(by_task.mean() + half)],
        "log_likelihood_median": float(np.median(densities)),
        "log_likelihood_by_task": by_task.tolist(),
    }


def table_text(table: dict[str, dict[str, dict[int, dict[str, Any]]]]) -> str:
    """The figures as Markdown, with the paired difference of log-likelihood to the first model."""
    first = next(iter(table))
    rows = []
    for kind in KINDS:
        for n in table[first][kind]:
            for name in table:
                entry, base = table[name][kind][n], table[first][kind][n]
                gain = np.subtract(entry["log_likelihood_by_task"], base["log_likelihood_by_task"])
                half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
                low, high = entry["ece_interval"]
                rows.append(
                    [
                        name,
                        kind,
                        str(n),
                        f"{100 * entry['ece']:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                        "{:.3f} [{:.3f}, {:.3f}]".format(
                            entry["log_likelihood"], *entry["log_likelihood_interval"]
                        ),
                        f"{entry['log_likelihood_median']:.3f}",
                        "" if name == first else f"{gain.mean():+.3f} +- {half:.3f}",
                    ]
                )
    header = ["model", "points", "n", "ECE (%)", "mean log-likelihood", "median", f"mean - {first}'s"]
    return markdown_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--suite", default="hpob-reduced:choice", help="NAME:SPLIT, with surrogates")
    parser.add_argument("--models", default="gp,gp-rank,gp-power,pretrained")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--tasks", type=int, help="at most so many of each space")
    parser.add_argument("--json", type=Path, help="write all figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    name, _, split = arguments.suite.partition(":")
    suite = open_suite(name, split or "test")
    tasks = [suite.task(s, task) for s in suite.spaces() for task in suite.tasks(s)[: arguments.tasks]]
    models = {model: make_model(model) for model in arguments.models.split(",")}
    sizes = [int(size) for size in arguments.sizes.split(",")]
    table = measure(models, tasks, seeds=arguments.seeds, sizes=sizes)
    print(
        f"{arguments.suite}: {len(tasks)} tasks, {arguments.seeds} contexts each, {QUERIES} queries a "
        "context; intervals over tasks\n"
    )
    print(table_text(table))
    if arguments.json:
        facts = {"suite": arguments.suite, "tasks": [[task.space, task.name] for task in tasks]}
        arguments.json.write_text(json.dumps({**facts, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
