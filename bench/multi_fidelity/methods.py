# SPDX-License-Identifier: Apache-2.0
"""The methods: a sampler and a pruner of Optuna each."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from bench.multi_fidelity.task import MAX_ROUNDS, RUNGS

from diffhpo.integrations.optuna import DiffusionSampler

#: Trials before TPE and diffhpo use a model.
STARTUP = 5
REDUCTION = 3


def _halving() -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=RUNGS[0], reduction_factor=REDUCTION)


def _hyperband() -> optuna.pruners.BasePruner:
    return optuna.pruners.HyperbandPruner(
        min_resource=RUNGS[0], max_resource=MAX_ROUNDS, reduction_factor=REDUCTION
    )


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)


def _diffhpo(seed: int) -> optuna.samplers.BaseSampler:
    return DiffusionSampler(seed=seed, n_startup_trials=STARTUP)


#: name -> (sampler of a seed, pruner).
METHODS: dict[
    str,
    tuple[Callable[[int], optuna.samplers.BaseSampler], Callable[[], optuna.pruners.BasePruner]],
] = {
    "random": (_random, optuna.pruners.NopPruner),
    "successive-halving": (_random, _halving),
    "hyperband": (_random, _hyperband),
    "tpe": (_tpe, optuna.pruners.NopPruner),
    "bohb": (_tpe, _hyperband),
    "diffhpo": (_diffhpo, optuna.pruners.NopPruner),
    "diffhpo+hyperband": (_diffhpo, _hyperband),
}
