# SPDX-License-Identifier: Apache-2.0
"""The variance schedule of the forward process and the coefficients of its reverse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.process.torch_defaults import torch_defaults


@dataclass(frozen=True)
class ReverseCoefficients:
    """One row per reverse step, in the order in which the steps run; float64.

    With x0_hat = x0_from_x * x_t - x0_from_eps * eps (clipped to [-1, 1] if asked), a step is
    x_prev = x0_weight * x0_hat + x_weight * x_t + sigma * z, z ~ N(0, 1).
    """

    timesteps: Tensor
    """(S,) int64, strictly decreasing; 0 is the least noisy level."""
    x0_from_x: Tensor
    """(S,) 1 / sqrt(alpha_bar_t)."""
    x0_from_eps: Tensor
    """(S,) sqrt(1 / alpha_bar_t - 1)."""
    x0_weight: Tensor
    """(S,)"""
    x_weight: Tensor
    """(S,)"""
    sigma: Tensor
    """(S,) standard deviation of the added noise; exactly 0 at the last step."""

    def __len__(self) -> int:
        return len(self.timesteps)


class NoiseSchedule:
    """beta_t, alpha_t = 1 - beta_t and alpha_bar_t = prod alpha_s, derived once in float64.

    Timesteps count from 0: index t here is t + 1 in Ho et al. (2020), "Denoising Diffusion Probabilistic
    Models", arXiv 2006.11239.

    Args:
        betas: (T,) variances of the forward process, each in (0, 1).

    Raises:
        InputError: if a beta is outside (0, 1) or there is none.

    Example:
        >>> schedule = NoiseSchedule.linear(1000)
        >>> round(float(schedule.alpha_bars[-1]), 7)
        4.04e-05
    """

    @torch_defaults()
    def __init__(self, betas: Tensor) -> None:
        betas = torch.as_tensor(betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0:
            raise InputError(f"betas has shape {tuple(betas.shape)}; a non-empty vector is needed")
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise InputError("betas must lie in (0, 1); a value outside was given")
        self.betas = betas
        self.alphas = 1.0 - betas
        self.alpha_bars = torch.cumprod(self.alphas, dim=0)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bars[:-1]])
        #: (T,) variance of q(x_{t-1} | x_t, x_0), eq. 7 of Ho et al. (2020); 0 at t = 0.
        self.posterior_variance = (1.0 - previous) / (1.0 - self.alpha_bars) * betas

    def __len__(self) -> int:
        return len(self.betas)

    @classmethod
    @torch_defaults()
    def linear(cls, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """Equally spaced variances from `beta_start` to `beta_end` (Ho et al. 2020, section 4)."""
        return cls(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64))

    @classmethod
    @torch_defaults()
    def cosine(cls, steps: int = 1000, offset: float = 0.008) -> NoiseSchedule:
        """Variances from a squared-cosine alpha_bar, capped at 0.999 (Nichol and Dhariwal 2021, eq. 17)."""
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha_bars = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls((1 - alpha_bars[1:] / alpha_bars[:-1]).clamp(max=0.999))

    def timesteps(self, steps: int | Sequence[int]) -> list[int]:
        """The strictly decreasing list of timesteps of a reverse process.

        Args:
            steps: how many of the T levels to visit, spread evenly from T - 1 to 0, or the list itself.

        Raises:
            InputError: if the number is not in [1, T], or the list is empty, not strictly decreasing, or
                leaves [0, T - 1].

        Example:
            >>> NoiseSchedule.linear(1000).timesteps(5)
            [999, 749, 500, 250, 0]
        """
        total = len(self)
        given: Any = steps
        if isinstance(given, str) or not isinstance(given, Iterable):
            steps = whole_number(given, "steps")
        if isinstance(steps, int):
            if not 1 <= steps <= total:
                raise InputError(f"steps is {steps}; this schedule has {total} levels: give 1 to {total}")
            if steps == 1:
                return [total - 1]
            return [round((total - 1) * (1 - k / (steps - 1))) for k in range(steps)]
        chosen = [int(t) for t in steps]
        if not chosen or any(a <= b for a, b in pairwise(chosen)):
            raise InputError(f"steps is {chosen[:8]}...; a non-empty, strictly decreasing list is needed")
        if chosen[0] >= total or chosen[-1] < 0:
            raise InputError(f"steps runs from {chosen[0]} to {chosen[-1]}; levels are 0 to {total - 1}")
        return chosen

    @torch_defaults()
    def reverse(self, steps: int | Sequence[int] = 1000, method: str = "ddpm") -> ReverseCoefficients:
        """Coefficients of every reverse step over the chosen timesteps.

        `"ddpm"`: the posterior q(x_s | x_t, x0_hat) between consecutive chosen levels s < t, which for the
        full list is algorithm 2 of Ho et al. (2020), with the mean of eq. 7 written in x0_hat (the same as
        eq. 11 when x0_hat is not clipped) and the posterior variance.
        `"ddim"`: the deterministic process of Song et al. (2021), arXiv 2010.02502, eq. 12 with sigma = 0.

        Raises:
            InputError: on a bad list of steps or an unknown method.
        """
        chosen = torch.tensor(self.timesteps(steps), dtype=torch.int64)
        bar = self.alpha_bars[chosen]
        bar_prev = torch.cat([bar[1:], torch.ones(1, dtype=torch.float64)])
        if method == "ddpm":
            alpha = bar / bar_prev
            beta = 1 - alpha
            x0_weight = bar_prev.sqrt() * beta / (1 - bar)
            x_weight = alpha.sqrt() * (1 - bar_prev) / (1 - bar)
            sigma = ((1 - bar_prev) / (1 - bar) * beta).sqrt()
        elif method == "ddim":
            ratio = ((1 - bar_prev) / (1 - bar)).sqrt()
            x0_weight = bar_prev.sqrt() - ratio * bar.sqrt()
            x_weight = ratio
            sigma = torch.zeros_like(bar)
        else:
            raise InputError(f"method is {method!r}; accepted: 'ddpm', 'ddim'")
        # alpha_bar_prev = 1 makes these exact; rounding of 1 - bar must not leave a residue.
        x0_weight[-1], x_weight[-1], sigma[-1] = 1.0, 0.0, 0.0
        return ReverseCoefficients(chosen, bar.rsqrt(), (1 / bar - 1).sqrt(), x0_weight, x_weight, sigma)
