# SPDX-License-Identifier: Apache-2.0
"""A source of functions that has only so many, for asking what a larger prior brings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.pretraining.source import TaskSource
from diffhpo.prior.task_batch import TaskBatch

#: Chunks that are kept and not drawn again; 128 functions at 512 points take about 10 MB.
_KEPT = 16


@dataclass(frozen=True)
class LimitedTasks:
    """The first functions of another source, again and again: chunk i is its chunk i mod (functions / size).

    Contexts are drawn anew whenever a function returns, from the same evaluations of it.

    Args:
        make: makes the other source; picklable.
        functions: how many distinct functions there are, a multiple of the size of a chunk.

    Raises:
        InputError: if `functions` is below 1, or, when functions are drawn, no multiple of the chunk's size.
    """

    make: Callable[[], TaskSource]
    functions: int

    def __post_init__(self) -> None:
        whole_number(self.functions, "functions", least=1)

    def __call__(self) -> TaskSource:
        """Open the other source, in the process that draws."""
        source = functools.lru_cache(maxsize=_KEPT)(self.make())

        def draw(index: int, size: int, points: int) -> TaskBatch:
            if self.functions % size:
                raise InputError(f"functions is {self.functions}; a multiple of the chunk, {size}, is needed")
            return source(index % (self.functions // size), size, points)

        return draw
