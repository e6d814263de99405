# SPDX-License-Identifier: Apache-2.0
"""A full disk, a read-only one, a path that leads nowhere: for everything that writes a file."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from diffhpo import Float, Optimizer, Space
from diffhpo.errors import CheckpointError, DiffHPOError, RunError
from diffhpo.pretraining.metrics import Metrics
from diffhpo.study.grid import Grid
from diffhpo.study.journal import Journal, read_runs

sys.path.insert(0, str(Path(__file__).parent))

from writers import ONCE, REPLACING

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits and permissions")

NO_ROOM = r"(No space left|File too large).*try again"


def files(folder: Path) -> set[str]:
    """Every file, but the empty locks, which stay, and the header of metrics."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    return found - {"lock", "hpob/.lock", "metrics.csv"}


@pytest.mark.fault(30)
@pytest.mark.parametrize("name", REPLACING)
def test_30_a_full_disk_leaves_the_file_before(
    name: str, nearly_full: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, full = nearly_full
    make, error = REPLACING[name]
    write, target = make(folder, monkeypatch)
    write()
    before, content, written = files(folder), target.read_bytes(), target.stat().st_mtime_ns
    held: AbstractContextManager[None] = full()
    with held, pytest.raises(error, match=NO_ROOM) as raised:
        write()
    assert str(folder) in str(raised.value)
    assert files(folder) == before
    assert target.read_bytes() == content
    write()
    assert target.stat().st_mtime_ns > written


@pytest.mark.fault(30)
@pytest.mark.parametrize("name", [*REPLACING, *ONCE])
def test_30_a_full_disk_leaves_nothing_where_nothing_was(
    name: str, nearly_full: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, full = nearly_full
    make, error = {**REPLACING, **ONCE}[name]
    write, target = make(folder, monkeypatch)
    with full(), pytest.raises(error, match=r"No space left|File too large"):
        write()
    assert files(folder) <= {"hpob/downloads/hpob-data.zip", "model.safetensors"}
    write()
    assert target.stat().st_size > 0


@pytest.mark.fault(30)
@pytest.mark.parametrize("name", REPLACING)
@pytest.mark.parametrize("where", ["missing", "file"])
def test_30_a_path_that_leads_nowhere_is_named(
    name: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("training checkpoint", "exported weights", "results", "surrogate") and where == "missing":
        pytest.skip("it makes its directory")
    (tmp_path / "file").write_bytes(b"mine")
    make, error = REPLACING[name]
    with pytest.raises(DiffHPOError, match=str(tmp_path / where)) as raised:
        make(tmp_path / where, monkeypatch)[0]()
    assert isinstance(raised.value, (error, RunError))
    assert "name another" in str(raised.value) or "choose" in str(raised.value)
    assert files(tmp_path) == {"file"}
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.fault(30)
@pytest.mark.parametrize("name", [*REPLACING, "embedded suite", "rollouts"])
def test_30_a_read_only_place_is_named(name: str, read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, _ = {**REPLACING, **ONCE}[name]
    with pytest.raises(DiffHPOError, match=f"{read_only}.*(Read-only|Permission)"):
        make(read_only, monkeypatch)[0]()
    assert files(read_only) == set()


@pytest.mark.fault(30)
def test_30_an_evaluation_is_not_spent_where_nothing_can_be_saved(tmp_path: Path) -> None:
    evaluated: list[Any] = []
    for path in (tmp_path / "no" / "run", tmp_path):
        with pytest.raises(CheckpointError, match="could not be written"):
            Optimizer(Space({"x": Float(0, 1)})).run(evaluated.append, 3, path=path, progress=False)
    assert evaluated == []


@pytest.mark.fault(30)
def test_30_rows_of_training_are_on_the_disk_once(nearly_full: tuple[Path, Any]) -> None:
    folder, full = nearly_full
    metrics = Metrics(folder / "metrics.csv")
    metrics.save()
    # More than the rest of the block that the header has begun.
    steps = range(50, 100_000, 50)
    for step in steps:
        metrics.add(torch.ones(3))
        metrics.end_row(step, 1e-3, 1.0)
    with full(), pytest.raises(RunError, match=NO_ROOM):
        metrics.save()
    metrics.cut(steps[-1])
    metrics.save()
    lines = metrics.path.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *map(str, steps)]


@pytest.mark.fault(30)
def test_30_a_journal_on_a_full_disk(small_disk: Path) -> None:
    """A tmpfs takes a part of the line, then refuses; tests/study/test_journal.py tries RLIMIT_FSIZE."""
    grid = Grid("embedded", tasks=(("a", "t1"),), seeds=("0", "1"), methods=("random",), trials=3)
    first, second = grid.cells()
    record = {"incumbents": [0.5] * 3000, "error": None}
    with Journal(small_disk, grid) as journal:
        journal.append({**first._asdict(), **record})
        content = (small_disk / "journal.jsonl").read_bytes()
        filler = small_disk.parent / "filler"
        free = os.statvfs(small_disk)
        filler.write_bytes(bytes((free.f_bavail - 1) * free.f_bsize))
        with pytest.raises(RunError, match=r"No space left.*1 finished runs are kept"):
            journal.append({**second._asdict(), **record})
        assert (small_disk / "journal.jsonl").read_bytes() == content
        filler.unlink()
        journal.append({**second._asdict(), **record})
    assert len(read_runs(small_disk)[1]) == 2
