# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed at random moments go on as if nothing had been, and one process has a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.other_process import kills, started, wait_until
from typer.testing import CliRunner

from diffhpo import Categorical, Float, Optimizer, Space
from diffhpo.cli import app
from diffhpo.errors import RunError
from diffhpo.pretraining.preset import preset_named
from diffhpo.pretraining.run import PretrainingRun
from diffhpo.pretraining.source import SyntheticTasks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and flock")

TRIALS = 14
SPACE = Space({"x": Float(0, 1), "kind": Categorical("ab")})


def loss(configuration: dict[str, object]) -> float:
    return (configuration["x"] - 0.3) ** 2 + 0.1 * (configuration["kind"] == "b")  # type: ignore[operator]


MINIMIZE = f"""
import sys, time
from diffhpo import Categorical, Float, Optimizer, Space
space = Space({{"x": Float(0, 1), "kind": Categorical("ab")}})
def loss(configuration):
    time.sleep(float(sys.argv[2]))
    return (configuration["x"] - 0.3) ** 2 + 0.1 * (configuration["kind"] == "b")
print("start", flush=True)
Optimizer.minimize(loss, space, {TRIALS}, seed=3, path=sys.argv[1], progress=False)
"""


def start(path: Path, seconds: float = 0.005) -> subprocess.Popen[str]:
    """`minimize` in another process; an evaluation takes so many seconds."""
    return started("-c", MINIMIZE, str(path), str(seconds), says="start", stderr=subprocess.PIPE)


def state_of(path: Path) -> tuple[int, int] | None:
    found = path.stat() if path.exists() else None
    return found and (found.st_ino, found.st_mtime_ns)


@pytest.mark.fault(29)
def test_29_a_killed_minimize_ends_with_the_uninterrupted_history(tmp_path: Path) -> None:
    """DIFFHPO_KILLS=50 kills it fifty times; a run that came through is begun anew."""
    expected = Optimizer.minimize(loss, SPACE, TRIALS, seed=3, progress=False).trials
    chance, path = random.Random(5), tmp_path / "runs" / "run"
    path.parent.mkdir()

    def is_whole() -> bool:
        return path.exists() and Optimizer.load(path).trials == expected

    killed = 0
    while killed < kills(3):
        before = state_of(path)
        process = start(path)
        try:
            if killed % 5:
                wait_until(lambda b=before, p=process: state_of(path) != b or p.poll() is not None)
            time.sleep(chance.random() * 0.1)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        finally:
            process.communicate()
        if path.exists():
            found = Optimizer.load(path).trials
            assert found == expected[: len(found)]
        assert {one.name for one in path.parent.iterdir()} <= {"run", "run.lock"}
        if is_whole():
            path.unlink()
    finished = Optimizer.minimize(loss, SPACE, TRIALS, seed=3, path=path, progress=False)
    assert finished.trials == expected
    assert is_whole()
    assert {one.name for one in path.parent.iterdir()} == {"run"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that evaluates the first configuration of `tmp_path / "run"`, for long."""
    process = start(tmp_path / "run", seconds=600)
    lock = tmp_path / "run.lock"
    wait_until(lambda: lock.exists() and lock.read_text())
    yield process
    process.kill()
    process.communicate()


@pytest.mark.fault(31)
def test_31_a_second_process_on_one_file_is_told_the_first(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = tmp_path / "run"
    with pytest.raises(RunError, match=f"run is in use by process {running.pid} on "):
        Optimizer.minimize(loss, SPACE, 3, path=path, progress=False)
    with pytest.raises(RunError, match="in use by process"):
        Optimizer(SPACE).run(loss, 3, path=path, progress=False)
    running.kill()
    running.wait()
    assert (tmp_path / "run.lock").exists()  # of a process that is no more
    assert len(Optimizer.minimize(loss, SPACE, 3, seed=3, path=path, progress=False).trials) == 3
    assert not (tmp_path / "run.lock").exists()


@pytest.mark.fault(31)
def test_31_a_run_in_this_process_is_a_first_one_too(tmp_path: Path) -> None:
    def nested(_: dict[str, object]) -> float:
        Optimizer.minimize(loss, SPACE, 3, path=tmp_path / "run", progress=False)
        return 0.0

    with pytest.raises(RunError, match=f"in use by process {os.getpid()} on "):
        Optimizer.minimize(nested, SPACE, 3, path=tmp_path / "run", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # without a lock, to go on from


HOLDER = """
import sys, time
from pathlib import Path
from diffhpo.files.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]), "it")
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.fault(31)
def test_31_a_second_process_does_not_train_in_the_directory(tmp_path: Path) -> None:
    tiny = preset_named("tiny")
    ours = PretrainingRun(tmp_path, SyntheticTasks(0), tiny)
    holder = started("-c", HOLDER, str(tmp_path / "lock"), says="held")
    try:
        with pytest.raises(RunError, match=f"in use by process {holder.pid} on "):
            ours.fit(progress=False)
        result = CliRunner().invoke(app, ["train", "universal", "--preset", "tiny", "--out", str(tmp_path)])
        assert result.exit_code == 2
        assert f"in use by process {holder.pid}" in result.output
    finally:
        holder.kill()
        holder.communicate()
    ours.fit(minutes=0, progress=False)
    theirs = PretrainingRun(tmp_path, SyntheticTasks(0), tiny)
    theirs.fit(minutes=0, progress=False)
    with pytest.raises(RunError, match="another process has trained in"):
        ours.fit(minutes=0, progress=False)
