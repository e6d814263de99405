# SPDX-License-Identifier: Apache-2.0
"""What a kept file of each format gives, as plain JSON values: contents, and what a model computes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffhpo import History, Optimizer
from diffhpo.hpob import fetch
from diffhpo.model import Denoiser, Trainer, load_checkpoint
from diffhpo.model.sampler import Sampler
from diffhpo.model.transformer import ContextBatch
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.pretraining.own_runs import load_own_runs
from diffhpo.pretraining.preset import preset_named
from diffhpo.pretraining.rollout_file import load_rollouts
from diffhpo.pretraining.run import CHECKPOINT, PretrainingRun
from diffhpo.pretraining.source import SyntheticTasks
from diffhpo.pretraining.task_bank import TaskBank
from diffhpo.study.journal import read_runs
from diffhpo.study.report import build_report
from diffhpo.trial_table import read_space_file, read_trial_table

_POINTS = np.array([[0.1, 0.2], [0.4, 0.9], [0.8, 0.3]])
HISTORY = History(_POINTS, [0.1, 0.7, 0.4])
_CONTEXT = torch.from_numpy(_POINTS).float(), torch.tensor([0.1, 0.7, 0.4])


def pretraining_run(directory: Path) -> PretrainingRun:
    """The smallest run that has moments and averages; a file in the directory is taken up."""
    model = {"width": 8, "layers": 1, "predictor_layers": 1, "blocks": 1, "heads": 2}
    preset = replace(preset_named("tiny"), model=model, steps=2, rollout_after=())
    return PretrainingRun(directory, SyntheticTasks(3), preset, seed=5)


def _samples(network: Any, schedule: Any, transformer: Any) -> list[list[float]]:
    denoiser = Denoiser(network, schedule, transformer)
    return denoiser.sample(_CONTEXT, 2, steps=5, seed=1, executor="reference").tolist()


def checkpoint(path: Path) -> Any:
    found = load_checkpoint(path)
    with torch.no_grad():
        embedding = found.transformer(ContextBatch.single(*_CONTEXT))
        logits = found.predictor(_CONTEXT[0][:2], embedding)
    return {
        "step": found.step,
        "extra": found.extra,
        "configs": [found.network.config, found.transformer.config, found.predictor.config],
        "samples": _samples(found.network, found.schedule, found.transformer),
        "logits": logits.tolist(),
    }


def trainer(path: Path) -> Any:
    found = Trainer.resume(path, executor="reference")
    losses = found.fit(Sampler(HISTORY), 2)
    return {"seed": found.seed, "batch": found.batch, "step": found.step, "losses": losses}


def universal(path: Path) -> Any:
    found = load_universal(path)
    run = InContextModel(found.model.eval(), *_CONTEXT)
    points = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    return {
        "step": found.step,
        "facts": found.facts,
        "config": found.model.config,
        "median": run.predict(points).median.tolist(),
        "generated": run.generate(2, seed=0, executor="reference").tolist(),
    }


def pretraining(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, Path(folder, CHECKPOINT))
        run = pretraining_run(Path(folder))
    moments = [state["exp_avg_sq"].sum() for state in run.optimizer.state.values()]
    weights = torch.cat([value.ravel() for value in run.average.values()])
    return {"step": run.step, "moments": float(sum(moments)), "average": weights[::100].tolist()}


def optimizer(path: Path) -> Any:
    found = Optimizer.load(path)
    queued = found.ask(1)[0].parameters
    trials = [[dict(trial.parameters), trial.value, trial.failed] for trial in found.trials]
    settings = [found.seed, found.direction, found.initial]
    return {"settings": settings, "space": found.space.to_json(), "trials": trials, "queued": queued}


def space(path: Path) -> Any:
    return read_space_file(path).to_json()


def trials(path: Path) -> Any:
    table = read_trial_table(path)
    return {name: getattr(table, name) for name in ("columns", "objective", "objective_name")}


def run(path: Path) -> Any:
    grid, records = read_runs(path)
    report = build_report([path]).to_json()
    means = {name: method["mean_normalised_regret"]["mean"] for name, method in report["methods"].items()}
    return {"grid": grid.to_json(), "records": list(records.values()), "mean_normalised_regret": means}


def bank(path: Path) -> Any:
    entries = TaskBank.load(path).entries
    return [
        [e.origin, e.family, *(a.tolist() for a in (e.x, e.values, e.kinds, e.roles, e.broad))]
        for e in entries
    ]


def rollouts(path: Path) -> Any:
    found = load_rollouts(path, 0)
    return [found.order[:, :8].tolist(), found.asked[:, 10, :8].tolist()]


def tasks(path: Path) -> Any:
    found = load_own_runs(path)
    return [[t.name, *(a.tolist() for a in (t.x, t.y, t.kinds, t.roles))] for t in found]


def cache(path: Path) -> Any:
    entry = fetch.info(path)[0]
    fetch.verify(path, "hpob-data")
    return [entry.name, entry.complete, entry.n_files, entry.n_bytes]


def ray(path: Path) -> Any:
    from diffhpo.integrations.ray import DiffusionSearch
    from diffhpo.space import Float, Space

    search = DiffusionSearch(Space({"lr": Float(1e-4, 1.0, log=True)}), "loss", "min")
    search.restore(str(path))
    found = search._started()
    trials = [[dict(trial.parameters), trial.value, trial.failed] for trial in found.trials]
    return {"seed": found.seed, "trials": trials, "running": search.suggest("b")}


def study(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from diffhpo.integrations.optuna.trials import proposal

    storage = JournalStorage(JournalFileBackend(str(path)))
    (kept,) = storage.get_all_studies()
    trials = storage.get_all_trials(kept._study_id)
    return [
        [trial.params, trial.value if trial.state.is_finished() else None, proposal(trial)]
        for trial in trials
    ]


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint": checkpoint,
    "trainer": trainer,
    "universal": universal,
    "pretraining": pretraining,
    "optimizer": optimizer,
    "space": space,
    "trials": trials,
    "run": run,
    "bank": bank,
    "rollouts": rollouts,
    "tasks": tasks,
    "cache": cache,
    "ray": ray,
    "study": study,
}
