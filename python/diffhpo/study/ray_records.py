# SPDX-License-Identifier: Apache-2.0
"""The records of a grid's runs, made on a Ray cluster."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter, deque
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from diffhpo.errors import DependencyError, RunError
from diffhpo.study import worker
from diffhpo.study.environment import machine, versions
from diffhpo.study.grid import Cell, Grid

if TYPE_CHECKING:
    from diffhpo.study.journal import Record

#: A run whose worker died this often is recorded as failed. A node may be taken away without a fault of the
#: run, so one death says nothing; a run that ends its own process would else be repeated for ever.
MOST_DEATHS = 3


def ray_records(grid: Grid, pending: deque[Cell], workers: int | None) -> Generator[Record, None, None]:
    """The record of each pending cell, as the runs finish; closing the generator ends the workers.

    The cluster is the one that this process is connected to, that RAY_ADDRESS names, or that runs on this
    machine; where there is none, one is started for the time of the call. diffhpo, and the suite's data at
    the same path, must be on all of its nodes. A run whose worker dies, with its node or alone, is made again
    elsewhere; after three deaths it is recorded as failed.

    Args:
        grid: what is run.
        pending: its cells that are to be made; they are taken from it.
        workers: processes of one core each; None is one for each core of the cluster.

    Raises:
        DependencyError: if Ray is not installed.
        RunError: if there is no cluster to connect to, or a worker cannot start.
    """
    try:
        import ray
        from ray.exceptions import RayActorError
    except ImportError as error:
        raise DependencyError(
            f'{error.name} is needed for the executor ray and is not installed: pip install "diffhpo[ray]"'
        ) from error
    facts = {"versions": versions(), "machine": machine()}
    deaths: Counter[Cell] = Counter()
    idle: list[Any] = []
    running: dict[Any, tuple[Any, Cell]] = {}
    with _connected(ray):
        if workers is None:
            workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor_class: Any = ray.remote(
            num_cpus=1, max_restarts=0, runtime_env={"env_vars": worker.SINGLE_THREAD}
        )(_RayWorker)
        try:
            while pending or running:
                while pending and len(running) < workers:
                    actor = idle.pop() if idle else actor_class.remote(grid, sys.path)
                    cell = pending.popleft()
                    running[actor.run.remote(cell)] = actor, cell
                while idle:  # one that is not placed yet may wait for its core
                    ray.kill(idle.pop())
                for reference in ray.wait(list(running), num_returns=1)[0]:
                    actor, cell = running.pop(reference)
                    try:
                        record = ray.get(reference)
                        idle.append(actor)
                    except RayActorError as death:
                        if getattr(death, "actor_init_failed", False):
                            raise RunError(_not_started(death)) from death
                        deaths[cell] += 1
                        if deaths[cell] < MOST_DEATHS:
                            pending.append(cell)
                            continue
                        cause = (
                            f"the worker died {MOST_DEATHS} times under this run; at last: {_reason(death)}"
                        )
                        record = {**worker.death_record(grid, cell, cause), **facts}
                    yield record
        finally:
            for actor in [*idle, *(actor for actor, _ in running.values())]:
                with contextlib.suppress(Exception):  # of a cluster that is gone
                    ray.kill(actor)


class _RayWorker:
    """A process of the cluster that makes one run after another."""

    def __init__(self, grid: Grid, paths: Sequence[str]) -> None:
        sys.path.extend(path for path in paths if path not in sys.path)  # for classes of the user's own
        self._worker = worker.Worker(grid)
        self._facts = {"versions": versions(), "machine": machine()}

    def run(self, cell: Cell) -> dict[str, Any]:
        return {**self._worker.run(cell), **self._facts}


@contextlib.contextmanager
def _connected(ray: Any) -> Generator[None, None, None]:
    """A connection to the cluster; one that is made here ends here.

    Raises:
        RunError: if the cluster that RAY_ADDRESS names does not answer.
    """
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError: Ray has no common one
        raise RunError(
            f"there is no Ray cluster to work on: {error}. RAY_ADDRESS names one; else one is started here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _not_started(death: Exception) -> str:
    return (
        "a worker cannot start on the Ray cluster; diffhpo, of the same version, must be installed on all "
        f"nodes: {_reason(death)}"
    )


def _reason(death: Exception) -> str:
    """The lines of Ray's message that say why, in one."""
    lines = [line.strip() for line in str(death).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("class_name", "namespace")))
