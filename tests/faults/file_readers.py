# SPDX-License-Identifier: Apache-2.0
"""Every reader of files: how to make a valid one, and how to read it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import xgboost
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from diffhpo import Categorical, Float, Int, Optimizer, Space
from diffhpo.hpob import Benchmark
from diffhpo.hpob.archive import unpack
from diffhpo.hpob.results import read_results
from diffhpo.hpob.surrogate import Surrogate
from diffhpo.model import Checkpoint, Network, NoiseSchedule, Transformer, load_checkpoint, save_checkpoint
from diffhpo.model.universal import UniversalModel
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, load_universal, save_universal
from diffhpo.pretraining.rollout_file import load_rollouts
from diffhpo.study.grid import Grid
from diffhpo.study.journal import encode_line, read_grid, read_journal
from diffhpo.study_page.study_file import open_study
from diffhpo.study_page.study_run import study_run
from diffhpo.trial_table import infer_space, read_space_file, read_trial_table

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")})
GRID = Grid("embedded", tasks=(("s", "t"),), seeds=("test0",), methods=("random",), trials=2)


@dataclass(frozen=True)
class Reader:
    """One reader of files."""

    file: str
    """Name that the file must have."""
    content: Callable[[Path], bytes]
    """A valid file's bytes; the directory is for what makes it."""
    read: Callable[[Path], Any]
    """Reads the file at a path, as far as a caller sees its contents."""
    text: bool = False
    """Whether the file is text that people write, in JSON or CSV."""
    whole: bool = True
    """Whether every beginning of a file is refused."""


def _checkpoint(folder: Path) -> bytes:
    torch.manual_seed(0)
    path = folder / "checkpoint"
    save_checkpoint(path, Checkpoint(Network(2, width=8), Transformer(2, width=8), NoiseSchedule.linear(20)))
    return path.read_bytes()


def _universal(folder: Path) -> bytes:
    torch.manual_seed(0)
    model = UniversalModel(width=4, layers=1, predictor_layers=1, blocks=1, heads=1)
    save_universal(folder / "universal", UniversalCheckpoint(model), half=True)
    return (folder / "universal").read_bytes()


def _optimizer(folder: Path) -> bytes:
    optimizer = Optimizer(SPACE)
    for suggestion in optimizer.ask(3):
        optimizer.tell(suggestion, 1.0)
    optimizer.save(folder / "optimizer")
    return (folder / "optimizer").read_bytes()


def _record() -> dict[str, Any]:
    return {"space": "s", "task": "t", "seed": "test0", "method": "random", "error": None}


def _surrogate(folder: Path) -> bytes:
    x = np.random.default_rng(0).random((40, 2))
    settings = {"max_depth": 2, "tree_method": "exact", "nthread": 1, "objective": "reg:squarederror"}
    return bytes(xgboost.train(settings, xgboost.DMatrix(x, label=x[:, 0] - x[:, 1]), 2).save_raw("json"))


def _study(storage: Any) -> None:
    study = optuna.create_study(study_name="a", storage=storage)
    study.add_trial(
        optuna.create_trial(
            value=2.0, params={"x": 0.5}, distributions={"x": optuna.distributions.FloatDistribution(0, 1)}
        )
    )


def _study_journal(folder: Path) -> bytes:
    _study(JournalStorage(JournalFileBackend(str(folder / "journal"))))
    return (folder / "journal").read_bytes()


def _study_sqlite(folder: Path) -> bytes:
    _study(f"sqlite:///{folder}/study.db")
    return (folder / "study.db").read_bytes()


def _archive(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("d/a.json", b"123" * 20)
        out.writestr("d/e/b.json", b"")
    return buffer.getvalue()


def _unpack(path: Path) -> Any:
    target = path.with_name("target")
    for old in sorted(target.rglob("*"), reverse=True) if target.exists() else ():
        old.rmdir() if old.is_dir() else old.unlink()
    target.mkdir(exist_ok=True)
    return unpack(path, target)


def _rollouts(folder: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, order=np.arange(6).reshape(2, 3), asked=np.arange(6).reshape(2, 3))
    return buffer.getvalue()


def _tables(path: Path) -> Any:
    task = Benchmark(path.parent, split="train").task("s", "t")
    return task.x.tolist(), task.y.tolist()


def _history(path: Path) -> Any:
    table = read_trial_table(path)
    return repr((table, infer_space(table)))


TABLES = {"s": {"t": {"X": [[0], [0.5], [1]], "y": [[1], [2], [3]]}}}

READERS = {
    "checkpoint": Reader("file", _checkpoint, lambda p: _plain(load_checkpoint(p).network)),
    "universal": Reader("file", _universal, lambda p: _plain(load_universal(p).model)),
    "optimizer": Reader("file", _optimizer, lambda p: repr(Optimizer.load(p).trials)),
    "space": Reader(
        "file", lambda _: json.dumps(SPACE.to_json()).encode(), lambda p: read_space_file(p), text=True
    ),
    "history": Reader("file", lambda _: b"lr,loss\n0.25,1.5\n0.5,2.5\n", _history, text=True, whole=False),
    "tables": Reader("meta-train-dataset.json", lambda _: json.dumps(TABLES).encode(), _tables, text=True),
    "results": Reader(
        "file", lambda _: b'{"s": {"t": {"test0": [0.25, 0.5]}}}', lambda p: read_results(p), text=True
    ),
    "surrogate": Reader("file", _surrogate, lambda p: Surrogate(p, 2)([[0.5, 0.5]]).tolist()),
    "journal": Reader(
        "file", lambda _: encode_line(_record()) * 2, lambda p: read_journal(p)[0] or _nothing(p), whole=False
    ),
    "grid": Reader(
        "run.json",
        lambda _: json.dumps({"schema": 1, "grid": GRID.to_json()}).encode(),
        lambda p: read_grid(p.parent),
        text=True,
    ),
    "study-journal": Reader("file", _study_journal, lambda p: repr(study_run(open_study(p))), whole=False),
    "study-sqlite": Reader("file", _study_sqlite, lambda p: repr(study_run(open_study(p))), whole=False),
    "archive": Reader("file", _archive, _unpack),
    "rollouts": Reader("0.npz", _rollouts, lambda p: load_rollouts(p.parent, 0).order.tolist()),
}


def _plain(module: torch.nn.Module) -> Any:
    return {name: value.tolist() for name, value in module.state_dict().items()}


def _nothing(path: Path) -> Any:
    """A journal without a finished record is one, of no runs."""
    from diffhpo.errors import DataError

    raise DataError(f"{path} has no record")
