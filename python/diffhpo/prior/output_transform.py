# SPDX-License-Identifier: Apache-2.0
"""Monotone transforms of a function's values, and the noise of observing them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.random_draws import bernoulli, log_uniform, normal, uniform

#: Shares of the transforms: identity, power, compressed top, stretched top, sigmoid.
_SHARES = (0.40, 0.15, 0.20, 0.10, 0.15)


def transform(generator: Generator, values: Tensor) -> Tensor:
    """(B, M) values -> (B, M), increasing in each row, on a scale and offset of its own.

    With u = (value - worst) / (best - worst): u; u^p, p in [1/4, 4]; 1 - exp(-k u), which compresses the
    top as an error rate near its floor does; -log(eps + 1 - u), which stretches it; a sigmoid. Then a
    quarter of the functions is clipped from below (chance level, crashed runs) and a tenth rounded to 10
    to 200 levels (accuracy on a small test set).
    """
    B = len(values)
    worst, best = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    u = ((values - worst) / (best - worst).clamp_min(1e-12)).clamp_(0.0, 1.0)
    kind = torch.bucketize(
        uniform(generator, B, 1), torch.tensor(_SHARES, device=values.device).cumsum(0)[:-1]
    )
    power = u ** log_uniform(generator, B, 1, low=0.25, high=4.0)
    k = log_uniform(generator, B, 1, low=1.0, high=8.0)
    compressed = 1 - torch.exp(-k * u)
    stretched = -torch.log(log_uniform(generator, B, 1, low=1e-3, high=0.3) + 1 - u)
    bent = torch.sigmoid(2 * k * (u - uniform(generator, B, 1, low=0.2, high=1.0)))
    shaped = torch.where(kind == 1, power, u)
    for index, other in ((2, compressed), (3, stretched), (4, bent)):
        shaped = torch.where(kind == index, other, shaped)
    low, high = shaped.amin(1, keepdim=True), shaped.amax(1, keepdim=True)
    shaped = (shaped - low) / (high - low).clamp_min(1e-6)
    rank = (uniform(generator, B, 1, low=0.05, high=0.5) * values.shape[1]).to(torch.int64)
    floor = shaped.sort(1).values.gather(1, rank)
    clipped = bernoulli(generator, B, 1, probability=0.25)
    shaped = torch.where(clipped, torch.maximum(shaped, floor), shaped)
    levels = log_uniform(generator, B, 1, low=10.0, high=200.0).floor()
    rounded = bernoulli(generator, B, 1, probability=0.1)
    shaped = torch.where(rounded, (shaped * levels).round() / levels, shaped)
    scale = log_uniform(generator, B, 1, low=0.1, high=10.0)
    return scale * (shaped + normal(generator, B, 1))


def observe(generator: Generator, values: Tensor) -> Tensor:
    """Values as observed: exact for half the functions, else with normal noise.

    Its sd is log-uniform from 0.001 to 0.1 of the range of the function's values.
    """
    B = len(values)
    spread = values.amax(1, keepdim=True) - values.amin(1, keepdim=True)
    noisy = bernoulli(generator, B, 1, probability=0.5)
    sd = spread * log_uniform(generator, B, 1, low=1e-3, high=0.1) * noisy
    return values + sd * normal(generator, *values.shape)
