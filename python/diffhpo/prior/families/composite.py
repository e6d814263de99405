# SPDX-License-Identifier: Apache-2.0
"""Two functions in one: sums, products, maxima, and variables that switch between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import Family, FunctionBatch
from diffhpo.prior.random_draws import bernoulli, integers, normal, one_of, uniform


class CompositeFunctions:
    """a + b, a * b, max(a, b), or a where x_0 is above a threshold and b elsewhere (conditional variables).

    a and b come from two of `families`, both brought to mean 0 and sd 1 on random points; each sees its
    own subset of the variables, the others are held at 1/2.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = tuple(families)

    def _part(self, generator: Generator, choice: int, batch: int, dim: int) -> FunctionBatch:
        function = self.families[choice].draw(generator, batch, dim)
        seen = bernoulli(generator, batch, 1, dim, probability=0.7).to(torch.float32)
        values = function(uniform(generator, batch, 64, dim) * seen + (1 - seen) * 0.5)
        mean, scale = values.mean(1, keepdim=True), values.std(1, keepdim=True)
        # A part that looks constant keeps its scale: what it hides may be far larger than the sd seen.
        scale = torch.where(scale < 0.01, torch.ones_like(scale), scale)

        def evaluate(x: Tensor) -> Tensor:
            return (function(x * seen + (1 - seen) * 0.5) - mean) / scale

        return evaluate

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        pair = torch.randperm(len(self.families), generator=generator, device=generator.device)[:2].tolist()
        a = self._part(generator, pair[0], batch, dim)
        b = self._part(generator, pair[1], batch, dim)
        balance = uniform(generator, batch, 1, low=0.2, high=1.0)
        lift = normal(generator, batch, 1)
        how = one_of(generator, batch, 5).unsqueeze(2)
        threshold = uniform(generator, batch, 1, low=0.2, high=0.8)
        switch = integers(generator, batch, 1, low=0, high=dim)

        def evaluate(x: Tensor) -> Tensor:
            p, q = a(x), b(x)
            q_scaled = balance * q
            gate = x.gather(2, switch.unsqueeze(1).expand(-1, x.shape[1], 1)).squeeze(2)
            switched = torch.where(gate > threshold, p, q_scaled + lift)
            product = torch.sigmoid(p) * torch.sigmoid(2 * q_scaled)
            # The conditional form has two shares of five.
            forms = [p + q_scaled, product, torch.maximum(p, q_scaled + lift), switched, switched]
            return (torch.stack(forms, dim=1) * how).sum(1)

        return evaluate
