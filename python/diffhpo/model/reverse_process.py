# SPDX-License-Identifier: Apache-2.0
"""The steps of one reverse process as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.model.schedule import NoiseSchedule


@dataclass(frozen=True, eq=False)
class ReverseProcess:
    """A list of timesteps with the coefficients and the noise key of every step."""

    timesteps: Tensor
    """(S,) int64, strictly decreasing."""
    coefficients: Tensor
    """(S, 5) float64 x0_from_x, x0_from_eps, x0_weight, x_weight, sigma."""
    keys: Tensor
    """(S + 1,) int64: T for the initial x_T, then the timesteps left."""

    @classmethod
    def of(cls, schedule: NoiseSchedule, timesteps: list[int] | int, method: str) -> ReverseProcess:
        """The process of `schedule.reverse(timesteps, method)`.

        Raises:
            InputError: as `NoiseSchedule.reverse` does.
        """
        c = schedule.reverse(timesteps, method)
        rows = torch.stack([c.x0_from_x, c.x0_from_eps, c.x0_weight, c.x_weight, c.sigma], dim=1)
        keys = torch.cat([torch.tensor([len(schedule)]), c.timesteps])
        return cls(c.timesteps, rows, keys)

    def first_steps(self, count: int) -> ReverseProcess:
        """The process that stops after its first `count` steps, 0 to S."""
        return ReverseProcess(self.timesteps[:count], self.coefficients[:count], self.keys[: count + 1])
