# SPDX-License-Identifier: Apache-2.0
"""The executor ray: its rules on a stand-in for Ray, and the same report as the processes on Ray itself."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from diffhpo.errors import DependencyError, InputError, RunError
from diffhpo.study.grid import Grid
from diffhpo.study.journal import read_runs
from diffhpo.study.ray_records import MOST_DEATHS, ray_records
from diffhpo.study.report import TIMING_HEADING, build_report, write_report
from diffhpo.study.runner import run_study
from diffhpo.study.selection import build_grid


class ActorDiedError(Exception):
    actor_init_failed = False


class StandIn(types.ModuleType):
    """Ray in this process: one call at a time, on actors that can be made to die."""

    def __init__(self, cpus: int = 2) -> None:
        super().__init__("ray")
        self.exceptions = types.ModuleType("ray.exceptions")
        self.exceptions.RayActorError = ActorDiedError
        self.cpus = cpus
        self.connected = False
        self.made: list[Any] = []
        self.killed: list[Any] = []
        self.most_at_once = 0
        self.dies = lambda cell: False
        self.starts = True

    def is_initialized(self) -> bool:
        return self.connected

    def init(self, **options: Any) -> None:
        self.connected = True

    def shutdown(self) -> None:
        self.connected = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus)}

    def remote(self, **options: Any) -> Any:
        assert options["num_cpus"] == 1
        return lambda cls: types.SimpleNamespace(remote=lambda *arguments: self._actor(cls, arguments))

    def _actor(self, cls: Any, arguments: Any) -> Any:
        actor = types.SimpleNamespace(worker=cls(*arguments))
        actor.run = types.SimpleNamespace(remote=lambda cell: _Reference(actor, cell))
        self.made.append(actor)
        return actor

    def wait(self, references: list[Any], num_returns: int) -> Any:
        self.most_at_once = max(self.most_at_once, len(references))
        living = [actor for actor in self.made if id(actor) not in self.killed]
        placed = [reference for reference in references if reference.actor in living[: self.cpus]]
        assert placed, "all cores are held by actors that have nothing to do"
        return placed[:num_returns], [one for one in references if one is not placed[0]]

    def get(self, reference: Any) -> Any:
        if not self.starts:
            death = ActorDiedError(
                "The actor died because of an error raised in its creation task\nNo module diffhpo"
            )
            death.actor_init_failed = True
            raise death
        if self.dies(reference.cell):
            self.killed.append(id(reference.actor))
            raise ActorDiedError("The actor died unexpectedly.\n\tclass_name: _RayWorker\nIts node was lost.")
        return reference.actor.worker.run(reference.cell)

    def kill(self, actor: Any) -> None:
        self.killed.append(id(actor))


class _Reference:
    def __init__(self, actor: Any, cell: Any) -> None:
        self.actor, self.cell = actor, cell


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.exceptions", module.exceptions)
    return module


def grid_of(suite: str, *methods: str, **settings: Any) -> Grid:
    settings = {"seeds": 1, "trials": 4, "protocol": "discrete", "tasks": ["t1", "t2"], **settings}
    return build_grid(suite, methods=[f"toy:{method}" for method in methods], **settings)


def results_of(directory: Path) -> dict[Any, Any]:
    timed = {"suggest_seconds", "seconds"}
    return {
        cell: {key: value for key, value in record.items() if key not in timed}
        for cell, record in read_runs(directory)[1].items()
    }


def report_of(directory: Path) -> dict[str, bytes]:
    """The report's files but for times."""
    write_report(build_report([directory], allow_missing=True), directory / "report")
    files = {
        path.name: path.read_bytes()
        for path in (directory / "report").rglob("*")
        if path.is_file() and "tim" not in path.name
    }
    files["report.md"] = files["report.md"].partition(TIMING_HEADING.encode())[0]
    assert len(files) > 5
    return files


def test_the_records_are_those_of_the_processes(ray: StandIn, suite: str, tmp_path: Path) -> None:
    grid = grid_of(suite, "Uniform", "Nearest", "Failing", "Absent", trials=8)
    outcome = run_study(tmp_path / "ray", grid, executor="ray", progress=False)
    assert (outcome.new, len(outcome.failed)) == (8, 4)
    run_study(tmp_path / "processes", grid, workers=1, progress=False)
    here, there = (results_of(tmp_path / name) for name in ("ray", "processes"))
    for records in (here, there):  # a traceback names the frames of its executor
        for record in records.values():
            if record["error"]:
                record["error"].pop("traceback")
    assert here == there
    assert report_of(tmp_path / "ray") == report_of(tmp_path / "processes")
    again = run_study(tmp_path / "ray", grid, executor="processes", workers=1, progress=False)
    assert (again.new, again.kept) == (0, 8)


@pytest.mark.parametrize(("workers", "expected"), [(None, 2), (1, 1), (5, 4)])
def test_as_many_runs_at_once_as_there_are_workers(
    ray: StandIn, suite: str, workers: int | None, expected: int
) -> None:
    grid = grid_of(suite, "Uniform", "Nearest")
    records = list(ray_records(grid, deque(grid.cells()), workers))
    assert len(records) == 4
    assert ray.most_at_once == expected
    assert len(ray.made) == expected
    assert set(ray.killed) == set(map(id, ray.made))
    assert not ray.connected


def test_a_run_is_repeated_where_its_worker_was_lost(ray: StandIn, suite: str) -> None:
    grid = grid_of(suite, "Uniform")
    lost: list[Any] = []

    def dies(cell: Any) -> bool:
        lost.append(cell)
        return cell.task == "t1" and lost.count(cell) < MOST_DEATHS

    ray.dies = dies
    records = list(ray_records(grid, deque(grid.cells()), 1))
    assert [record["error"] for record in records] == [None, None]
    assert {record["task"] for record in records} == {"t1", "t2"}


def test_a_run_that_ends_each_worker_is_recorded_and_the_rest_goes_on(ray: StandIn, suite: str) -> None:
    grid = grid_of(suite, "Uniform")
    ray.dies = lambda cell: cell.task == "t1"
    records = {record["task"]: record for record in ray_records(grid, deque(grid.cells()), 2)}
    assert records["t2"]["error"] is None
    assert records["t1"]["error"] == {
        "type": "WorkerDeath",
        "message": "the worker died 3 times under this run; at last: "
        "The actor died unexpectedly. Its node was lost.",
        "traceback": "",
    }
    assert set(records["t1"]) | {"incumbents", "suggest_seconds", "data", "seconds"} == set(records["t2"])


def test_workers_that_do_not_start_end_the_study(ray: StandIn, suite: str, tmp_path: Path) -> None:
    ray.starts = False
    with pytest.raises(RunError, match=r"must be installed on all nodes: .* No module diffhpo"):
        run_study(tmp_path / "run", grid_of(suite, "Uniform"), executor="ray", progress=False)
    assert not ray.connected
    assert read_runs(tmp_path / "run")[1] == {}


def test_a_cluster_that_does_not_answer_is_named(
    ray: StandIn, suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> None:
        raise ConnectionError("no answer from 10.0.0.1")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunError, match=r"no Ray cluster.*10\.0\.0\.1.*RAY_ADDRESS"):
        next(ray_records(grid_of(suite, "Uniform"), deque(), 1), None)


def test_an_interrupt_keeps_what_is_finished_and_ends_the_workers(
    ray: StandIn, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, calls = ray.wait, []

    def interrupted(references: list[Any], num_returns: int) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return wait(references, num_returns)

    monkeypatch.setattr(ray, "wait", interrupted)
    grid = grid_of(suite, "Uniform", "Nearest")
    with pytest.raises(KeyboardInterrupt, match="1 of 4 runs are finished"):
        run_study(tmp_path / "run", grid, executor="ray", workers=2, progress=False)
    assert {id(actor) for actor in ray.made} <= set(ray.killed)
    assert not ray.connected
    monkeypatch.setattr(ray, "wait", wait)
    assert run_study(tmp_path / "run", grid, executor="ray", progress=False).new == 3


def test_a_connection_of_the_callers_own_is_left_open(ray: StandIn, suite: str) -> None:
    ray.init()
    grid = grid_of(suite, "Uniform")
    assert len(list(ray_records(grid, deque(grid.cells()), 1))) == 2
    assert ray.connected


def test_a_missing_ray_and_an_unknown_executor_are_named(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r'pip install "diffhpo\[ray\]"'):
        run_study(tmp_path / "run", grid_of(suite, "Uniform"), executor="ray", progress=False)
    with pytest.raises(InputError, match="executor is 'dask'; accepted: 'processes', 'ray'"):
        run_study(tmp_path / "run", grid_of(suite, "Uniform"), executor="dask", progress=False)


TWO_NODES = """
import sys
from ray.cluster_utils import Cluster
import ray
from diffhpo.study.journal import Journal
from diffhpo.study.runner import run_study
from diffhpo.study.selection import build_grid

cluster = Cluster()
for _ in range(2):
    cluster.add_node(num_cpus=1, include_dashboard=False)
ray.init(address=cluster.address, log_to_driver=False)
assert len([node for node in ray.nodes() if node["Alive"]]) == 2
methods = [f"toy:{name}" for name in ("Uniform", "Nearest", "Failing", "Exits", "Threads")]
grid = build_grid(sys.argv[1], methods=methods, seeds=1, trials=8, protocol="discrete", tasks=["t1", "t4"])
outcome = run_study(sys.argv[2], grid, executor="ray", progress=False)
print(f"{outcome.new} runs, {len(outcome.failed)} failed")
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_on_a_cluster_of_two_nodes(suite: str, tmp_path: Path) -> None:
    # Ray's workers are nice to others: on a machine that is busy with other work they hardly run.
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_NODES, suite, str(tmp_path / "ray")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "10 runs, 6 failed" in done.stdout.splitlines()  # Ray writes there too
    runs = read_runs(tmp_path / "ray")[1]
    grid = build_grid(
        suite,
        methods=["toy:Uniform", "toy:Nearest"],
        seeds=1,
        trials=8,
        protocol="discrete",
        tasks=["t1", "t4"],
    )
    run_study(tmp_path / "processes", grid, workers=1, progress=False)
    there = results_of(tmp_path / "processes")
    here = results_of(tmp_path / "ray")
    assert {cell: here[cell] for cell in there} == there
    errors = {cell.method: record["error"] for cell, record in runs.items() if record["error"]}
    assert errors["toy:Threads"]["message"] == "1 1 1 1"
    assert errors["toy:Failing"]["type"] == "ZeroDivisionError"
    assert errors["toy:Exits"]["type"] == "WorkerDeath"
    assert errors["toy:Exits"]["message"].startswith("the worker died 3 times under this run; at last: ")
