# SPDX-License-Identifier: Apache-2.0
"""What a study needs of a benchmark, and a benchmark whose tasks are made on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from diffhpo.errors import InputError
from diffhpo.hpob.task import Task

#: space -> task -> how it is made.
Makers = Mapping[str, Mapping[str, Callable[[], Task]]]


class Suite(Protocol):
    """Search spaces, their tasks and the tasks' seeds; `hpob.Benchmark` is one."""

    def spaces(self) -> list[str]:
        """Names of the search spaces."""

    def tasks(self, space: str) -> list[str]:
        """Names of a space's tasks."""

    def seeds(self, space: str, task: str) -> list[str]:
        """Names of a task's initial designs."""

    def task(self, space: str, task: str) -> Task:
        """One task."""


class TaskSuite:
    """A suite of tasks that are made when they are asked for.

    Args:
        makers: space -> task -> callable that makes it.
        seeds: names of the initial designs, the same for every task.

    Example:
        >>> from functools import partial
        >>> rows = [[i / 9] for i in range(10)]
        >>> make = partial(Task, "demo", "line", rows, range(10), initial={"test0": [0, 1, 2, 3, 4]})
        >>> suite = TaskSuite({"demo": {"line": make}}, ["test0"])
        >>> suite.task("demo", suite.tasks("demo")[0]).dim
        1
    """

    def __init__(self, makers: Makers, seeds: Sequence[str]) -> None:
        self._makers = makers
        self._seeds = list(seeds)

    def spaces(self) -> list[str]:
        """Names of the search spaces."""
        return list(self._makers)

    def tasks(self, space: str) -> list[str]:
        """Names of a space's tasks.

        Raises:
            InputError: if there is no such space.
        """
        if space not in self._makers:
            raise InputError(f"space {space!r} is not in the suite; accepted: {', '.join(self._makers)}")
        return list(self._makers[space])

    def seeds(self, space: str, task: str) -> list[str]:
        """Names of the initial designs.

        Raises:
            InputError: if there is no such space or task.
        """
        self._maker(space, task)
        return list(self._seeds)

    def task(self, space: str, task: str) -> Task:
        """One task.

        Raises:
            InputError: if there is no such space or task.
            DataError: if its data is damaged.
        """
        return self._maker(space, task)()

    def _maker(self, space: str, task: str) -> Callable[[], Task]:
        names = self.tasks(space)
        if task not in names:
            raise InputError(f"task {task!r} is not in space {space}; accepted: {', '.join(names)}")
        return self._makers[space][task]
