# SPDX-License-Identifier: Apache-2.0
"""Writes one small file of each format as this version writes it, for the versions to come.

    python tests/upgrades/write_files.py

Run it once for each new schema; files of earlier ones, and what they give, are kept as they are.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import readers
import torch

from diffhpo import Categorical, Condition, Float, Int, Optimizer, Space, Trial, __version__
from diffhpo.files.atomic_write import write_atomically
from diffhpo.files.file_schema import WRITER
from diffhpo.hpob import fetch
from diffhpo.integrations.optuna import DiffusionSampler
from diffhpo.model import (
    Checkpoint,
    Network,
    NoiseSchedule,
    Predictor,
    Sampler,
    Trainer,
    Transformer,
    save_checkpoint,
)
from diffhpo.model.checkpoint import SCHEMA as CHECKPOINT
from diffhpo.model.universal import UniversalModel
from diffhpo.model.universal.checkpoint import SCHEMA as UNIVERSAL
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, save_universal
from diffhpo.optimizer_file import SCHEMA as OPTIMIZER
from diffhpo.pretraining import own_runs, rollout_file, task_bank
from diffhpo.pretraining.rollout_collection import collect_rollouts
from diffhpo.pretraining.source import SyntheticTasks
from diffhpo.space import Constant, Ordinal
from diffhpo.study.grid import Grid
from diffhpo.study.journal import SCHEMA as RUN
from diffhpo.study.journal import Journal, cell_of, read_runs
from diffhpo.study.runner import run_study
from diffhpo.trial_table import write_configurations

FILES = Path(__file__).parent / "files"

SPACE = Space(
    {"lr": Float(1e-4, 1.0, log=True), "kind": Categorical(["a", "b", "c"]), "depth": Int(1, 9)},
    conditions={"depth": Condition("kind", ["b", "c"])},
)


def checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    parts = Network(2, width=8, context_width=4), Transformer(2, width=4), NoiseSchedule.cosine(20)
    predictor = Predictor(2, width=8, context_width=4, bars=5)
    save_checkpoint(path, Checkpoint(*parts, step=3, extra={"seed": 7}, predictor=predictor))


def trainer(path: Path) -> None:
    torch.manual_seed(0)
    made = Trainer(Network(2, width=8, context_width=4), Transformer(2, width=4), executor="reference")
    made.fit(Sampler(readers.HISTORY), 2)
    made.save(path)


def universal(path: Path) -> None:
    torch.manual_seed(0)
    model = UniversalModel(width=8, layers=1, predictor_layers=1, blocks=1, heads=2)
    save_universal(path, UniversalCheckpoint(model, 5, {}, {"preset": "tiny"}))


def pretraining(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = readers.pretraining_run(Path(folder))
        run.fit(progress=False)
        write_atomically(path, run.path.read_bytes())


def optimizer(path: Path) -> None:
    made = Optimizer(SPACE, seed=4, direction="minimize", initial=3)
    made.tell([Trial({"lr": 0.1, "kind": "a"}, 0.5), Trial({"lr": 0.01, "kind": "b", "depth": 3}, 0.25)])
    made.tell({"lr": 0.2, "kind": "c", "depth": 9}, failed=True)
    made.enqueue([{"lr": 1.0, "kind": "a"}])
    made.save(path)


def space(path: Path) -> None:
    parameters = {
        **SPACE.parameters,
        "drop": Float(0.0, 0.5, step=0.1),
        "units": Int(8, 512, log=True),
        "size": Ordinal(["s", "m", "l"]),
        "threads": Constant(4),
    }
    content = Space(parameters, conditions=SPACE.conditions).to_json()
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def trials(path: Path) -> None:
    rows = [
        {"lr": 0.1, "kind": "a", "depth": "", "loss": 0.5},
        {"lr": 0.01, "kind": "b", "depth": 3, "loss": ""},
    ]
    write_configurations(path, ["lr", "kind", "depth", "loss"], rows)


def run(path: Path) -> None:
    tasks = (("xgboost", "vehicle"), ("xgboost", "yeast"))
    grid = Grid("embedded", tasks, ("test0",), ("random", "sobol"), protocol="discrete", trials=3)
    with tempfile.TemporaryDirectory() as folder:
        run_study(folder, grid, workers=1, progress=False)
        _, records = read_runs(Path(folder))
    with Journal(path, grid) as journal:
        for record in records.values():
            machine = {"processor": "unknown", "cores": "2", "system": "Linux x86_64"}
            journal.append({**record, "machine": machine})
    assert set(map(cell_of, records.values())) == set(grid.cells())
    (path / "lock").unlink()


def bank(path: Path) -> None:
    rng = np.random.default_rng(0)
    entries = []
    for n, dim in ((4, 2), (3, 1)):
        x, values = rng.random((n, dim), np.float32), rng.random((n, 2), np.float32)
        kinds, roles = np.zeros(dim, np.int64), np.arange(dim)
        entries.append(
            task_bank.BankEntry(f"task {n}", "demo/mixed", x, values, kinds, roles, np.arange(n) > 1)
        )
    task_bank.TaskBank(entries).save(path)


def rollouts(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        universal(Path(folder, "model.safetensors"))
        sizes = {"size": 2, "points": 256}
        collect_rollouts(folder, SyntheticTasks(3), chunks=range(1), **sizes, seed=0, progress=False)
        path.mkdir()
        write_atomically(path / "0.npz", Path(folder, "0.npz").read_bytes())


def tasks(path: Path) -> None:
    index = {
        "schema": own_runs.SCHEMA,
        WRITER: __version__,
        "learners": {"svm": {"names": ["cost", "kernel"], "kinds": [0, 2]}},
        "runs": [{"learner": "svm", "table": "iris~2", "responses": ["balanced_accuracy", "log_loss"]}],
    }
    x = np.array([[0, 0], [65535, 65535], [32768, 0], [1, 65535], [2, 0]], dtype=np.uint16)
    y = np.array([[1, 2, 3, 4, 5], [0.5, 0.25, 0, -1, -2]], dtype=np.float32)
    np.savez_compressed(path, index=np.array(json.dumps(index)), x0=x, y0=y)


def cache(path: Path) -> None:
    part = path / "hpob" / "hpob-data"
    part.mkdir(parents=True)
    (part / "meta-test-dataset.json").write_bytes(b"{}\n")
    archive = fetch.ARCHIVES["hpob-data"]
    kept = {"meta-test-dataset.json": (3, fetch._sha256(part / "meta-test-dataset.json"))}
    fetch.write_manifest(path / "hpob", "hpob-data", archive.file.sha256, kept)


def ray(path: Path) -> None:
    # As DiffusionSearch.save writes it: Ray is not everywhere where this script is run.
    with tempfile.TemporaryDirectory() as folder:
        made = Optimizer(Space({"lr": SPACE.parameters["lr"]}), seed=4, direction="minimize")
        made.tell([Trial({"lr": 0.1}, 0.5), Trial({"lr": 0.01})])
        made.save(Path(folder, "optimizer"))
        saved = base64.b64encode(Path(folder, "optimizer").read_bytes()).decode()
    state = {"version": 1, WRITER: __version__, "metric": "loss", "optimizer": saved}
    path.write_text(json.dumps({**state, "places": {"a": 0, "b": 1}, "first": []}), encoding="utf-8")


def study(path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    sampler = DiffusionSampler(seed=0, n_startup_trials=2)
    made = optuna.create_study(storage=storage, sampler=sampler, study_name="kept")
    for value in (0.5, 0.25, None):
        asked = made.ask()
        asked.suggest_float("x", -1.0, 1.0)
        if value is not None:
            made.tell(asked, value)


WRITERS: dict[str, Callable[[Path], None]] = {
    f"checkpoint-{CHECKPOINT}.safetensors": checkpoint,
    f"trainer-{CHECKPOINT}.safetensors": trainer,
    f"universal-{UNIVERSAL}.safetensors": universal,
    f"pretraining-{UNIVERSAL}.safetensors": pretraining,
    f"optimizer-{OPTIMIZER}.safetensors": optimizer,
    "space-1.json": space,
    "trials-1.csv": trials,
    f"run-{RUN}": run,
    f"bank-{task_bank.SCHEMA}.npz": bank,
    f"rollouts-{rollout_file.SCHEMA}": rollouts,
    f"tasks-{own_runs.SCHEMA}.npz": tasks,
    f"cache-{fetch.SCHEMA}": cache,
    "ray-1.json": ray,
    "study-1.jsonl": study,
}

if __name__ == "__main__":
    for name, write in WRITERS.items():
        if not (FILES / name).exists():
            write(FILES / name)
        given = FILES / f"{name}.given.json"
        if not given.exists():
            contents = readers.READERS[name.split("-")[0]](FILES / name)
            given.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
