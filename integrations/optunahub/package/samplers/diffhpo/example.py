# SPDX-License-Identifier: Apache-2.0
"""Thirty trials on a conditional space: python example.py"""

from __future__ import annotations

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    learner = trial.suggest_categorical("learner", ["linear", "tree"])
    if learner == "linear":
        return 1.0 + (trial.suggest_float("penalty", 1e-4, 1.0, log=True) - 0.1) ** 2
    depth = trial.suggest_int("depth", 1, 8)
    share = trial.suggest_float("share", 0.1, 1.0)
    return (depth - 5) ** 2 / 10 + (share - 0.3) ** 2


def main(n_trials: int = 30, registry_root: str = "package") -> optuna.Study:
    module = optunahub.load_local_module(package="samplers/diffhpo", registry_root=registry_root)
    # Once it is published: module = optunahub.load_module(package="samplers/diffhpo")
    study = optuna.create_study(sampler=module.DiffusionSampler(seed=0))
    study.optimize(objective, n_trials=n_trials)
    return study


if __name__ == "__main__":
    print(main().best_trial)
