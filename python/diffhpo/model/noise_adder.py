# SPDX-License-Identifier: Apache-2.0
"""The Noise Adder: the forward process in closed form."""

from __future__ import annotations

from torch import Tensor, nn

from diffhpo.errors import InputError
from diffhpo.model.schedule import NoiseSchedule


class NoiseAdder(nn.Module):
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps (Ho et al. 2020, eq. 4).

    Args:
        schedule: the variances; linear with 1000 levels by default. The square roots are taken in float64
            and rounded once.

    Example:
        >>> import torch
        >>> adder = NoiseAdder()
        >>> x_0, eps = torch.ones(2, 3), torch.zeros(2, 3)
        >>> adder(x_0, torch.tensor([0, 999]), eps)[:, 0]
        tensor([0.9999, 0.0064])
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, schedule: NoiseSchedule | None = None) -> None:
        super().__init__()
        self.schedule = schedule if schedule is not None else NoiseSchedule.linear()
        bars = self.schedule.alpha_bars
        self.register_buffer("signal", bars.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - bars).sqrt().float(), persistent=False)

    def forward(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Add noise.

        Args:
            x_0: (B, d) clean configurations, scaled to [-1, 1].
            t: (B,) integer timesteps in [0, T).
            eps: (B, d) standard normal noise.

        Returns:
            (B, d) noisy configurations.

        Raises:
            InputError: if the shapes do not match.
        """
        if x_0.shape != eps.shape or t.shape != x_0.shape[:1]:
            raise InputError(
                f"x_0 {tuple(x_0.shape)}, t {tuple(t.shape)}, eps {tuple(eps.shape)}: "
                "x_0 and eps need one shape (B, d), t one timestep a row"
            )
        return self.signal[t].unsqueeze(-1) * x_0 + self.noise[t].unsqueeze(-1) * eps
