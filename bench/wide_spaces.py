# SPDX-License-Identifier: Apache-2.0
"""Spaces beyond the pretrained model's 32 columns: what diffhpo does there, beside others.

    python bench/wide_spaces.py --dims 40 100 --seeds 3

Functions are BBOB's (package ioh). A method's score is the gap between its best of 50 trials and the optimum,
as a share of the gap that random search leaves: geometric mean over functions and seeds, interval over
functions.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch

from diffhpo import Optimizer
from diffhpo.history_policy import HistoryPolicy
from diffhpo.policy import initial_design
from diffhpo.space import Float, Space

FUNCTIONS = (1, 3, 6, 8, 10, 13, 17, 20)
TRIALS = 50


def objective(function: int, dim: int, instance: int):
    import ioh

    problem = ioh.get_problem(function, instance=instance, dimension=dim)
    return lambda u: problem(10 * np.asarray(u) - 5) - problem.optimum.y


def with_policy(policy, evaluate, dim: int, seed: int) -> float:
    space = Space({f"x{k}": Float(0.0, 1.0) for k in range(dim)})
    optimizer = Optimizer(space, seed=seed, direction="minimize", policy=policy(seed))
    for _ in range(TRIALS):
        (suggestion,) = optimizer.ask()
        optimizer.tell(suggestion, evaluate(list(suggestion.parameters.values())))
    return optimizer.best[1]


def with_random(evaluate, dim: int, seed: int) -> float:
    start = initial_design(dim, 5, start=0, seed=seed)
    rest = np.random.default_rng([seed, 7]).random((TRIALS - 5, dim))
    return min(evaluate(u) for u in np.concatenate([start, rest]))


def with_optuna(sampler, evaluate, dim: int, seed: int) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler(seed))
    for u in initial_design(dim, 5, start=0, seed=seed):
        study.enqueue_trial({f"x{k}": float(v) for k, v in enumerate(u)})
    study.optimize(
        lambda trial: evaluate([trial.suggest_float(f"x{k}", 0, 1) for k in range(dim)]), n_trials=TRIALS
    )
    return study.best_value


def methods(gp: bool):
    import optuna

    found = {
        "random": with_random,
        "diffhpo (HistoryPolicy)": lambda *a: with_policy(lambda s: HistoryPolicy(seed=s), *a),
        "TPE, multivariate": lambda *a: with_optuna(
            lambda s: optuna.samplers.TPESampler(seed=s, multivariate=True, n_startup_trials=5), *a
        ),
        "CMA-ES": lambda *a: with_optuna(
            lambda s: optuna.samplers.CmaEsSampler(seed=s, n_startup_trials=5), *a
        ),
    }
    if gp:
        found["GPSampler"] = lambda *a: with_optuna(
            lambda s: optuna.samplers.GPSampler(seed=s, n_startup_trials=5, deterministic_objective=True), *a
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[40, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gp", action="store_true", help="Optuna's GPSampler too, which takes minutes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = methods(given.gp)
    for dim in given.dims:
        gaps: dict[str, list[float]] = {name: [] for name in table}
        seconds = dict.fromkeys(table, 0.0)
        for function in FUNCTIONS:
            for seed in range(given.seeds):
                for name, run in table.items():
                    started = time.thread_time()
                    gaps[name].append(run(objective(function, dim, seed + 1), dim, seed))
                    seconds[name] += time.thread_time() - started
        print(f"{dim} dimensions, {len(FUNCTIONS)} functions, {given.seeds} seeds, {TRIALS} trials")
        reference = np.log(gaps["random"])
        for name in table:
            ratio = (np.log(gaps[name]) - reference).reshape(len(FUNCTIONS), -1).mean(1)
            error = ratio.std(ddof=1) / np.sqrt(len(ratio))
            per = 1000 * seconds[name] / len(reference) / TRIALS
            print(
                f"  {name:30} {np.exp(ratio.mean()):.3f} of random's gap "
                f"({np.exp(ratio.mean() - 2 * error):.2f} to {np.exp(ratio.mean() + 2 * error):.2f}), "
                f"{per:.0f} ms a trial",
                flush=True,
            )


if __name__ == "__main__":
    main()
