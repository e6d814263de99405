# SPDX-License-Identifier: Apache-2.0
"""Everything that writes a file: name -> (what makes it, the error that it raises).

Each is a function of a folder and pytest's monkeypatch that returns a call which writes, and the file it
writes. The call can be repeated, and the object behind it lives on between calls.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.untrained_model import untrained_model

from diffhpo import Float, Int, Optimizer, Space
from diffhpo.errors import CheckpointError, DataError, DiffHPOError, RunError
from diffhpo.hpob import fetch
from diffhpo.hpob.results import write_results
from diffhpo.hpob.suite import export
from diffhpo.model import Checkpoint, Network, NoiseSchedule, Transformer, save_checkpoint
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, save_universal
from diffhpo.pretraining import rollout_collection
from diffhpo.pretraining.preset import preset_named
from diffhpo.pretraining.rollout import Rollouts
from diffhpo.pretraining.run import PretrainingRun
from diffhpo.pretraining.source import SyntheticTasks
from diffhpo.pretraining.task_bank import BankEntry, TaskBank
from diffhpo.study.journal import write_text
from diffhpo.suites import fitted_surrogate
from diffhpo.trial_table import write_configurations

Write = tuple[Callable[[], Any], Path]


def _optimizer() -> Optimizer:
    optimizer = Optimizer(Space({"x": Float(0, 1), "n": Int(1, 99)}))
    optimizer.tell({"x": 0.5, "n": 3}, 1.0)
    return optimizer


def optimizer_save(folder: Path, _: pytest.MonkeyPatch) -> Write:
    optimizer = _optimizer()
    return lambda: optimizer.save(folder / "run"), folder / "run"


def optimizer_run(folder: Path, _: pytest.MonkeyPatch) -> Write:
    optimizer = _optimizer()
    return (
        lambda: optimizer.run(lambda c: c["x"], 1, path=folder / "run", progress=False),
        folder / "run",
    )


def checkpoint(folder: Path, _: pytest.MonkeyPatch) -> Write:
    whole = Checkpoint(Network(2, width=8), Transformer(2, width=8), NoiseSchedule.linear(20))
    return lambda: save_checkpoint(folder / "model", whole), folder / "model"


def universal_checkpoint(folder: Path, _: pytest.MonkeyPatch) -> Write:
    model = UniversalCheckpoint(untrained_model())
    return lambda: save_universal(folder / "model", model), folder / "model"


def _training(folder: Path) -> PretrainingRun:
    return PretrainingRun(folder, SyntheticTasks(0), preset_named("tiny"))


def training_checkpoint(folder: Path, _: pytest.MonkeyPatch) -> Write:
    run = _training(folder)
    return lambda: run.fit(minutes=0, progress=False), run.path


def exported_weights(folder: Path, _: pytest.MonkeyPatch) -> Write:
    run = _training(folder)
    return lambda: run.export(folder / "weights"), folder / "weights"


def rollouts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    made = Rollouts(torch.zeros(8, 45, dtype=torch.long), torch.zeros(8, 45, 16, dtype=torch.long))
    monkeypatch.setattr(rollout_collection, "roll_out", lambda *_: made)

    def write() -> None:
        if not (folder / "model.safetensors").exists():
            save_universal(folder / "model.safetensors", UniversalCheckpoint(untrained_model()))
        rollout_collection.collect_rollouts(
            folder, SyntheticTasks(0), chunks=range(1), size=8, points=256, seed=0, progress=False
        )

    return write, folder / "0.npz"


def task_bank(folder: Path, _: pytest.MonkeyPatch) -> Write:
    kinds = np.zeros(2, np.int64)
    entry = BankEntry(
        "a",
        "f",
        np.zeros((64, 2), np.float32),
        np.zeros((64, 2), np.float32),
        kinds,
        kinds,
        np.ones(64, bool),
    )
    bank = TaskBank([entry])
    return lambda: bank.save(folder / "bank.npz"), folder / "bank.npz"


def results(folder: Path, _: pytest.MonkeyPatch) -> Write:
    curves = {"5971": {"43": {"test0": [0.1 + k / 1000 for k in range(50)]}}}
    return lambda: write_results(folder / "method.json", curves), folder / "method.json"


def report_text(folder: Path, _: pytest.MonkeyPatch) -> Write:
    return lambda: write_text(folder / "report.md", "line\n" * 100), folder / "report.md"


def report_figure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    from matplotlib.figure import Figure

    from diffhpo.study import plots, report

    for name in ("rank_and_regret", "regret_per_task"):
        monkeypatch.setattr(plots, name, lambda *_, **__: Figure(figsize=(1, 1)))
    nothing = SimpleNamespace(methods=(), per_space=())
    drawn: Any = SimpleNamespace(
        regret=nothing,
        rank=nothing,
        aligned=nothing,
        comparisons=(),
        collection=SimpleNamespace(grid=nothing),
    )
    return lambda: report._write_figures(drawn, folder, False), folder / "rank-and-regret.png"


def study_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    pytest.importorskip("optuna")
    module = importlib.import_module("diffhpo.study_page.page")
    monkeypatch.setattr(module, "study_page", lambda *_, **__: "<p>line</p>\n" * 100)
    monkeypatch.setattr(module, "open_study", lambda *_: None)
    out = folder / "study.html"
    return lambda: module.write_study_page("study.db", out), out


def suggestions(folder: Path, _: pytest.MonkeyPatch) -> Write:
    rows = [{"x": k / 7} for k in range(50)]
    return lambda: write_configurations(folder / "next.csv", ["x"], rows), folder / "next.csv"


def surrogate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setattr(fitted_surrogate, "computed_directory", lambda *_: folder)
    monkeypatch.setattr(fitted_surrogate, "_fit", lambda *_: {"trees": list(range(99))})
    monkeypatch.setattr(fitted_surrogate, "_extremes", lambda *_: (0.0, 1.0))
    monkeypatch.setattr(fitted_surrogate, "Surrogate", lambda *_: None)

    def write() -> None:
        x = np.zeros((3, 1))
        fitted_surrogate.fitted_surrogate(x, x[:, 0], Path("f"), "a")
        (folder / "range-a.json").unlink()

    return write, folder / "surrogate-a.json.gz"


def exported_suite(folder: Path, _: pytest.MonkeyPatch) -> Write:
    def write() -> None:
        export(folder / "suite", "validation")

    return write, folder / "suite" / "SOURCES.md"


def ray_search(folder: Path, _: pytest.MonkeyPatch) -> Write:
    pytest.importorskip("ray")
    from diffhpo.integrations.ray import DiffusionSearch

    search = DiffusionSearch(Space({"x": Float(0, 1)}), metric="loss", mode="min")
    search.suggest("a")
    return lambda: search.save(str(folder / "search")), folder / "search"


def fetched_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """The archive is there; 1 MB has to be unpacked from its kilobyte."""
    pytest.importorskip("pooch")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("hpob-data/meta-test-dataset.json", json.dumps({"100": {}}) + " " * (1 << 20))
    body, part = buffer.getvalue(), fetch.ARCHIVES["hpob-data"]
    file = replace(
        part.file, size=len(body), sha256=hashlib.sha256(body).hexdigest(), mirrors=("https://127.0.0.1:9/",)
    )
    monkeypatch.setitem(fetch.ARCHIVES, "hpob-data", replace(part, file=file))
    downloads = folder / "hpob" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / file.name).write_bytes(body)  # as the message of an offline machine says
    return lambda: fetch.fetch(
        "hpob-data", folder, progress=False
    ), folder / "hpob" / "hpob-data" / "meta-test-dataset.json"


#: Those that replace a file with each call.
REPLACING: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], Write], type[Exception]]] = {
    "Optimizer.save": (optimizer_save, CheckpointError),
    "Optimizer.run": (optimizer_run, CheckpointError),
    "checkpoint": (checkpoint, CheckpointError),
    "universal checkpoint": (universal_checkpoint, CheckpointError),
    "training checkpoint": (training_checkpoint, DiffHPOError),
    "exported weights": (exported_weights, CheckpointError),
    "bank": (task_bank, DataError),
    "results": (results, DataError),
    "report text": (report_text, RunError),
    "report figure": (report_figure, RunError),
    "study page": (study_page, DataError),
    "suggestions": (suggestions, DataError),
    "surrogate": (surrogate, DataError),
    "Ray search": (ray_search, CheckpointError),
}

#: Those that write once, in several files; a part that is there is not made again.
ONCE: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], Write], type[Exception]]] = {
    "rollouts": (rollouts, DiffHPOError),
    "embedded suite": (exported_suite, DataError),
    "data fetch": (fetched_data, DataError),
}
