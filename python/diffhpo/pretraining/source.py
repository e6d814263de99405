# SPDX-License-Identifier: Apache-2.0
"""Where the functions of a pretraining run come from: the synthetic prior, and real train tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from diffhpo.errors import InputError
from diffhpo.pretraining.real_task_sampler import RealTaskSampler
from diffhpo.pretraining.task_bank import TaskBank
from diffhpo.prior import PriorSampler
from diffhpo.prior.task_batch import TaskBatch, joined

#: (index, size, points) -> that many functions; the same whatever was drawn before.
TaskSource: TypeAlias = Callable[[int, int, int], TaskBatch]


@dataclass(frozen=True)
class SyntheticTasks:
    """The synthetic prior alone."""

    seed: int

    def __call__(self) -> TaskSource:
        """Open it, in the process that draws."""
        sampler = PriorSampler(seed=self.seed)

        def draw(index: int, size: int, points: int) -> TaskBatch:
            return sampler.batch(index, size, points)

        return draw


@dataclass(frozen=True)
class MixedTasks:
    """Synthetic functions and functions of a bank of real train tasks, in fixed shares.

    Args:
        seed: of both.
        bank: file of `TaskBank.save`.
        real_share: share of every chunk that is real, 0 to 1.

    Raises:
        InputError: if the share is out of range.
    """

    seed: int
    bank: str
    real_share: float

    def __post_init__(self) -> None:
        if not 0 <= self.real_share <= 1:
            raise InputError(f"real_share is {self.real_share}; 0 to 1 is accepted")

    def __call__(self) -> TaskSource:
        """Open both, in the process that draws."""
        synthetic = PriorSampler(seed=self.seed)
        real = RealTaskSampler(TaskBank.load(self.bank), seed=self.seed)

        def draw(index: int, size: int, points: int) -> TaskBatch:
            count = round(self.real_share * size)
            parts = []
            if count:
                parts.append(real.batch(index, count, points))
            if count < size:
                parts.append(synthetic.batch(index, size - count, points))
            return joined(parts)

        return draw
