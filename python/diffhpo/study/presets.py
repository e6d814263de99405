# SPDX-License-Identifier: Apache-2.0
"""Studies that are run by name: what chooses settings (`dev`) and what is reported (`full`)."""

from __future__ import annotations

from dataclasses import dataclass

from diffhpo.study.grid import Protocol

#: Trials of the presets' tables.
TABLE_TRIALS = (1, 5, 10, 25, 50)

#: Methods that suggest one configuration at a time, cheapest first.
SEQUENTIAL = (
    "random",
    "sobol",
    "pretrained-named",
    "pretrained",
    "tpe",
    "cma-es",
    "elites",
    "gp",
    "optuna-gp",
    "deep-gp",
    "smac",
)

#: Methods with batches.
BATCHED = ("random", "sobol", "pretrained-named", "pretrained", "tpe", "elites", "qlogei")


@dataclass(frozen=True)
class PresetStudy:
    """One study of a preset.

    Attributes:
        name: of its run directory.
        suite, split, protocol, trials, batch: as in `Grid`.
        methods: unless others are asked for.
        seeds: how many of the tasks' seeds.
    """

    name: str
    suite: str
    split: str
    seeds: int
    trials: int
    methods: tuple[str, ...] = SEQUENTIAL
    protocol: Protocol = "continuous"
    batch: int = 1


#: Tasks that may choose settings.
DEV = (
    PresetStudy("hpob-choice", "hpob-reduced", "choice", seeds=2, trials=30),
    PresetStudy("hpob-pools-choice", "hpob-pools", "choice", seeds=2, trials=30, protocol="discrete"),
    PresetStudy("x48-validation", "x48", "validation", seeds=2, trials=30),
)

#: Tasks that are reported and choose nothing.
FULL = (
    PresetStudy("hpob-report", "hpob-reduced", "report", seeds=10, trials=50),
    PresetStudy("x48-test", "x48", "test", seeds=10, trials=50),
    PresetStudy("hpob-pools", "hpob-pools", "report", seeds=10, trials=50, protocol="discrete"),
    PresetStudy("grid-mlp", "grid-mlp", "test", seeds=10, trials=50, protocol="discrete"),
    PresetStudy("grid-fcnet", "grid-fcnet", "test", seeds=10, trials=50, protocol="discrete"),
    PresetStudy("bbob", "bbob", "test", seeds=10, trials=50),
    PresetStudy("embedded", "embedded", "test", seeds=5, trials=50),
    PresetStudy("hpob-report-batches", "hpob-reduced", "report", 10, 10, BATCHED, batch=8),
    PresetStudy("x48-test-batches", "x48", "test", 10, 10, BATCHED, batch=8),
)

PRESETS = {"dev": DEV, "full": FULL}
