# SPDX-License-Identifier: Apache-2.0
"""Where the functions of a pretraining run come from: the synthetic prior, and real train tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from diffhpo.arguments.finite_number import finite_number
from diffhpo.policy import check_seed, derived_seed
from diffhpo.pretraining.choices_apart import choices_apart
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
            return _encoded(sampler.batch(index, size, points), self.seed, index)

        return draw


@dataclass(frozen=True)
class MixedTasks:
    """Synthetic functions and functions of a bank of real train tasks, in fixed shares.

    Args:
        seed: of both.
        bank: file of `TaskBank.save`.
        real_share: share of every chunk that is real, 0 to 1.

    Raises:
        InputError: on a negative seed or a share out of range.
    """

    seed: int
    bank: str
    real_share: float

    def __post_init__(self) -> None:
        check_seed(self.seed)
        finite_number(self.real_share, "real_share", least=0, most=1)

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
            return _encoded(joined(parts), self.seed, index)

        return draw


def _encoded(tasks: TaskBatch, seed: int, index: int) -> TaskBatch:
    """Categorical columns as search spaces have them."""
    generator = torch.Generator().manual_seed(derived_seed(seed, 4, index) % 2**63)
    return choices_apart(tasks, generator)
