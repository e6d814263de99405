# SPDX-License-Identifier: Apache-2.0
"""Where the functions of a pretraining run come from: the synthetic prior, and real train tasks."""

from __future__ import annotations

from dataclasses import dataclass

from diffhpo.prior import PriorSampler
from diffhpo.prior.task_batch import TaskBatch
from diffhpo.pretraining.stream import TaskSource


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
