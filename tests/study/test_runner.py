# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.other_process import kills, started, wait_until

from diffhpo.errors import InputError, RunError
from diffhpo.hpob.data import Benchmark
from diffhpo.hpob.protocol import evaluate_discrete
from diffhpo.study.grid import Cell, Grid, method_seed
from diffhpo.study.journal import read_runs
from diffhpo.study.methods import create
from diffhpo.study.report import TIMING_HEADING, build_report, write_report
from diffhpo.study.runner import run_study
from diffhpo.study.selection import build_grid


def grid_of(suite: str, *methods: str, **settings: Any) -> Grid:
    settings = {"seeds": 2, "trials": 6, "protocol": "discrete", **settings}
    return build_grid(suite, methods=[f"toy:{method}" for method in methods], **settings)


def results_of(directory: Path) -> dict[Cell, Any]:
    """Everything that a run directory tells about its runs but times and the machine."""
    timed = {"suggest_seconds", "seconds", "machine"}
    return {
        cell: {key: value for key, value in record.items() if key not in timed}
        for cell, record in read_runs(directory)[1].items()
    }


def test_a_study_gives_what_the_protocol_gives(suite: str, tmp_path: Path) -> None:
    grid = grid_of(suite, "Uniform", "Nearest")
    outcome = run_study(tmp_path / "run", grid, workers=2, progress=False)
    assert (outcome.new, outcome.kept, outcome.failed, outcome.notices) == (20, 0, (), ())
    stored, runs = read_runs(tmp_path / "run")
    assert stored == grid
    assert set(runs) == set(grid.cells())
    benchmark = Benchmark(suite)
    for cell, record in runs.items():
        task = benchmark.task(cell.space, cell.task)
        method = create(cell.method, method_seed(cell.space, cell.task, cell.seed))
        expected = evaluate_discrete(method, task, cell.seed, grid.trials)
        assert record["incumbents"] == expected.incumbents
        assert len(record["suggest_seconds"]) == grid.trials
        assert min(record["suggest_seconds"]) > 0
        assert record["versions"]["numpy"]


def test_the_number_of_workers_changes_nothing_and_finished_runs_are_kept(suite: str, tmp_path: Path) -> None:
    grid = grid_of(suite, "Uniform", spaces=["s1"])
    run_study(tmp_path / "one", grid, workers=1, progress=False)
    run_study(tmp_path / "three", replace(grid, methods=("toy:Uniform",)), workers=3, progress=False)
    assert results_of(tmp_path / "one") == results_of(tmp_path / "three")
    before = (tmp_path / "one" / "journal.jsonl").read_bytes()
    outcome = run_study(tmp_path / "one", grid, progress=False)
    assert (outcome.new, outcome.kept) == (0, 6)
    grown = replace(grid, methods=("toy:Uniform", "toy:Nearest"))
    outcome = run_study(tmp_path / "one", grown, workers=1, progress=False)
    assert (outcome.new, outcome.kept) == (6, 6)
    assert (tmp_path / "one" / "journal.jsonl").read_bytes().startswith(before)


def test_shards_together_make_the_whole(suite: str, tmp_path: Path) -> None:
    grid = grid_of(suite, "Uniform")
    run_study(tmp_path / "whole", grid, workers=2, progress=False)
    parts: dict[Cell, Any] = {}
    for index in (1, 2):
        part = replace(grid, shard=f"{index}/2")
        run_study(tmp_path / str(index), part, workers=1, progress=False)
        results = results_of(tmp_path / str(index))
        assert not set(results) & set(parts)
        parts |= results
    assert parts == results_of(tmp_path / "whole")


def test_failing_methods_are_recorded_and_the_rest_goes_on(suite: str, tmp_path: Path) -> None:
    """A method that raises, one that the kernel kills, one that exits, one that is no method."""
    grid = grid_of(suite, "Uniform", "Failing", "Killed", "Exits", "NoInterface", "Absent", tasks=["t1"])
    outcome = run_study(tmp_path / "run", grid, workers=2, progress=False)
    _, runs = read_runs(tmp_path / "run")
    assert set(runs) == set(grid.cells())
    errors = {cell.method: record["error"] for cell, record in runs.items()}
    assert errors["toy:Uniform"] is None
    assert errors["toy:Failing"]["type"] == "ZeroDivisionError"
    assert "raise ZeroDivisionError" in errors["toy:Failing"]["traceback"]
    assert "SIGKILL (out of memory? use fewer --workers" in errors["toy:Killed"]["message"]
    assert "exit code 3" in errors["toy:Exits"]["message"]
    assert "no observe_and_suggest" in errors["toy:NoInterface"]["message"]
    assert "toy has no Absent" in errors["toy:Absent"]["message"]
    assert len(outcome.failed) == 10
    assert {record["method"] for record in outcome.failed} == set(errors) - {"toy:Uniform"}


def test_a_failed_run_is_repeated_on_request_only(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FILE", str(tmp_path / "file"))
    grid = grid_of(suite, "FailingUnlessFile", tasks=["t1"])
    assert len(run_study(tmp_path / "run", grid, workers=1, progress=False).failed) == 2
    (tmp_path / "file").touch()
    again = run_study(tmp_path / "run", grid, workers=1, progress=False)
    assert (again.new, len(again.failed)) == (0, 2)
    again = run_study(tmp_path / "run", grid, workers=1, progress=False, retry_failed=True)
    assert (again.new, again.failed) == (2, ())


def test_workers_use_one_thread_and_keep_warnings(suite: str, tmp_path: Path) -> None:
    grid = grid_of(suite, "Warns", "Threads", tasks=["t1"], seeds=1)
    environment = dict(os.environ)
    run_study(tmp_path / "run", grid, workers=1, progress=False)
    assert dict(os.environ) == environment
    runs = {cell.method: record for cell, record in read_runs(tmp_path / "run")[1].items()}
    assert runs["toy:Threads"]["error"]["message"] == "1 1 1 1"
    assert runs["toy:Warns"]["warnings"] == {"UserWarning: be careful": 6}


def test_a_damaged_task_fails_its_own_runs_alone(suite: str, tmp_path: Path) -> None:
    grid = grid_of(suite, "Uniform", tasks=["t1", "t4"])
    path = Path(suite) / "hpob-data" / "meta-test-dataset.json"
    text = path.read_text()
    path.write_text(text[:5] + text[5:].replace('"X"', '"Z"', 1))
    outcome = run_study(tmp_path / "run", grid, workers=1, progress=False)
    assert {record["error"]["type"] for record in outcome.failed} == {"DataError"}
    assert {record["task"] for record in outcome.failed} == {"t1"}


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_bad_workers_are_named(suite: str, tmp_path: Path, workers: Any) -> None:
    with pytest.raises(InputError, match="workers is"):
        run_study(tmp_path / "run", grid_of(suite, "Uniform"), workers=workers)


def test_an_unknown_method_is_named_before_anything_is_made(suite: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'anealing'; accepted: random, gp.*module:Class"):
        run_study(tmp_path / "run", build_grid(suite, methods=["random", "anealing"], seeds=1))
    assert not (tmp_path / "run").exists()


STUDY = """
import sys
from diffhpo.study.runner import run_study
from diffhpo.study.selection import build_grid
if __name__ == "__main__":
    grid = build_grid(sys.argv[1], methods=["toy:Slow", "toy:Failing"], seeds=2, trials=4,
                      protocol="discrete")
    print("start", flush=True)
    run_study(sys.argv[2], grid, workers=2, progress=False)
"""


def start_study(suite: str, directory: Path) -> subprocess.Popen[str]:
    """The study above in another process, which is importing when this returns."""
    script = directory.parent / "study.py"
    script.write_text(STUDY)
    return started(str(script), suite, str(directory), says="start", stderr=subprocess.PIPE)


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def journal_size(directory: Path) -> int:
    path = directory / "journal.jsonl"
    return path.stat().st_size if path.exists() else 0


def report_of(directory: Path) -> dict[str, bytes]:
    """Every file of the report but times."""
    report = build_report([directory], allow_missing=True)
    files = {
        path.name: path.read_bytes() for path in write_report(report, directory / "report", figures=False)
    }
    del files["timing.json"]
    text, heading, _ = files["report.md"].partition(TIMING_HEADING.encode())
    assert heading
    return {**files, "report.md": text}


@pytest.mark.fault(29)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the process tree from /proc")
def test_a_killed_study_resumes_to_the_same_results(suite: str, tmp_path: Path) -> None:
    """kill -9 at random moments until the study is through; DIFFHPO_KILLS=50 makes it fifty kills."""
    chance = random.Random(7)
    whole, killed_one = tmp_path / "whole", tmp_path / "killed"
    process = start_study(suite, whole)
    assert process.wait(timeout=60) == 0
    process.communicate(timeout=30)

    def finish() -> None:
        process = start_study(suite, killed_one)
        assert process.wait(timeout=60) == 0
        process.communicate(timeout=30)
        lines = (killed_one / "journal.jsonl").read_text().splitlines()
        assert len(lines) == 20  # nothing was done twice
        assert results_of(killed_one) == results_of(whole)
        assert report_of(killed_one) == report_of(whole)

    kills_done = attempt = 0
    while kills_done < kills(2):
        size = journal_size(killed_one)
        process = start_study(suite, killed_one)
        if attempt % 3:  # let it make some progress, so that it is killed at another stage
            wait_until(
                lambda size=size, process=process: (
                    journal_size(killed_one) > size or process.poll() is not None
                )
            )
        time.sleep(chance.random() * (0.1 if attempt % 3 else 1.0))
        workers = children_of(process.pid)
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        kills_done += killed
        attempt += 1
        process.communicate(timeout=30)  # ends when no worker holds the pipes any more
        wait_until(lambda workers=workers: not any(is_running(worker) for worker in workers))
        if not killed:
            finish()
            shutil.rmtree(killed_one)
    finish()


def test_ctrl_c_keeps_finished_runs_and_says_how_to_go_on(suite: str, tmp_path: Path) -> None:
    process = start_study(suite, tmp_path / "run")
    wait_until(lambda: journal_size(tmp_path / "run") > 0)
    workers = children_of(process.pid) if Path("/proc/self/task").exists() else []
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0
    finished = len(read_runs(tmp_path / "run")[1])
    assert f"KeyboardInterrupt: {finished} of 20 runs are finished and kept" in stderr
    assert "same command again" in stderr
    assert stderr.count("Traceback") == 1  # the workers leave Ctrl-C to their parent
    wait_until(lambda: not any(is_running(worker) for worker in workers))
    grid = build_grid(suite, methods=["toy:Slow", "toy:Failing"], seeds=2, trials=4, protocol="discrete")
    outcome = run_study(tmp_path / "run", grid, workers=2, progress=False)
    assert (outcome.new, outcome.kept) == (20 - finished, finished)


def test_a_script_without_a_guard_is_told_so(suite: str, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(STUDY.replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run(
        [sys.executable, str(script), suite, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "RunError: the worker processes do not start" in done.stderr


@pytest.mark.fault(31)
def test_a_directory_in_use_stops_a_second_study(suite: str, tmp_path: Path) -> None:
    process = start_study(suite, tmp_path / "run")
    wait_until(lambda: (tmp_path / "run" / "journal.jsonl").exists())
    with pytest.raises(RunError, match=f"in use by process {process.pid}"):
        run_study(tmp_path / "run", grid_of(suite, "Uniform"), progress=False)
    process.kill()
    process.communicate(timeout=30)
