# SPDX-License-Identifier: Apache-2.0
"""From a task's columns to a function's variables: kinds of columns, warps, columns without effect."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.random_draws import bernoulli, integers, log_uniform, uniform
from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS, STEPPED

#: Most levels of a stepped and of a categorical column.
MAX_STEPS, MAX_CATEGORIES = 20, 6
#: Share of the mixed functions that have conditional columns, and of their columns that then are.
CONDITIONAL_SHARE, CHILD_SHARE = 0.5, 0.4


class InputTransform:
    """How `batch` tasks of `dim` columns feed functions of `active` variables.

    Continuous and stepped columns pass a Kumaraswamy warp 1 - (1 - x^a)^b, a and b log-uniform in
    [1/3, 3]; half of the columns keep their scale. A categorical column's levels get values drawn
    independently, so that their order means nothing. A random choice of `active` columns is used. Some
    columns may be conditional: at some levels of another column, their parent, they stand at 1/2, as
    inactive parameters do.

    Args:
        active: 1 to dim.
        mixed: whether columns may be stepped or categorical.
        warped: whether columns are warped at all.
        stairs: read each variable at so many values only, cut at random places of its own, as an
            ensemble of trees fitted to a table does; 0 for no stairs.
    """

    def __init__(
        self,
        generator: Generator,
        batch: int,
        dim: int,
        active: int,
        *,
        mixed: bool,
        warped: bool,
        stairs: int = 0,
    ) -> None:
        device = generator.device
        shape = (batch, dim)
        draw = uniform(generator, *shape)
        stepped_share = (
            uniform(generator, batch, 1, high=0.6) if mixed else torch.zeros(batch, 1, device=device)
        )
        categorical_share = uniform(generator, batch, 1, high=0.4) if mixed else stepped_share
        self.kinds = torch.full(shape, CONTINUOUS, dtype=torch.int64, device=device)
        self.kinds[draw < stepped_share] = STEPPED
        self.kinds[draw > 1 - categorical_share] = CATEGORICAL
        steps = log_uniform(generator, *shape, low=2.0, high=MAX_STEPS + 0.99).floor()
        categories = integers(generator, *shape, low=2, high=MAX_CATEGORIES + 1)
        #: (batch, dim) float32: how many values a column takes; 0 for continuous ones.
        self.levels = torch.where(self.kinds == STEPPED, steps, torch.zeros_like(steps))
        self.levels = torch.where(self.kinds == CATEGORICAL, categories.to(torch.float32), self.levels)
        self.mixed = mixed
        self._gaps = (self.levels - 1).clamp_min(1.0).unsqueeze(1)
        self._discrete = (self.levels > 0).unsqueeze(1)
        self._categorical = (self.kinds == CATEGORICAL).unsqueeze(1)
        self._category_values = uniform(generator, batch, dim, MAX_CATEGORIES)
        plain = bernoulli(generator, *shape, probability=0.5)
        a = torch.where(plain, 1.0, log_uniform(generator, *shape, low=1 / 3, high=3.0))
        b = torch.where(plain, 1.0, log_uniform(generator, *shape, low=1 / 3, high=3.0))
        flip = bernoulli(generator, *shape, probability=0.5)
        self._columns = uniform(generator, *shape).argsort(1)[:, :active]
        self._a = a.gather(1, self._columns).unsqueeze(1)
        self._b = b.gather(1, self._columns).unsqueeze(1)
        self._flip = flip.gather(1, self._columns).unsqueeze(1)
        cuts = uniform(generator, batch, active, max(stairs - 1, 0)).sort(2).values
        edges = torch.cat([cuts.new_zeros(batch, active, 1), cuts], 2)
        ends = torch.cat([cuts, cuts.new_ones(batch, active, 1)], 2)
        self._cuts, self._middles = cuts, (edges + ends) / 2
        self._stairs, self._warped = stairs > 0, warped
        self._draw_conditions(generator)

    def _draw_conditions(self, generator: Generator) -> None:
        """A parent among the discrete columns, its children, and the levels at which they are inactive."""
        batch, dim = self.kinds.shape
        discrete = self.levels > 0
        self._parent = (uniform(generator, batch, dim) * discrete).argmax(1)
        conditional = bernoulli(generator, batch, 1, probability=CONDITIONAL_SHARE) & discrete.any(
            1, keepdim=True
        )
        chosen = bernoulli(generator, batch, dim, probability=CHILD_SHARE) & (self.kinds != CATEGORICAL)
        place = torch.arange(dim, device=self.kinds.device)
        #: (batch, dim) bool: which columns are inactive at times.
        self.conditional = conditional & chosen & (place != self._parent.unsqueeze(1))
        self._inactive_at = bernoulli(generator, batch, MAX_STEPS, probability=0.5)

    def snap(self, x: Tensor) -> Tensor:
        """(B, N, dim) any numbers -> the nearest configurations: in [0, 1], discrete columns on levels."""
        x = x.clamp(0.0, 1.0)
        if not self.mixed:
            return x
        x = torch.where(self._discrete, (x * self._gaps).round() / self._gaps, x)
        parent = (x * self._gaps).gather(2, self._parent.view(-1, 1, 1).expand(-1, x.shape[1], 1))
        inactive = self._inactive_at.gather(1, parent.squeeze(2).round().to(torch.int64))
        return torch.where(inactive.unsqueeze(2) & self.conditional.unsqueeze(1), 0.5, x)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, N, dim) configurations -> (B, N, active) what the function reads, in [0, 1]."""
        if self.mixed:
            level = (x * self._gaps).round().to(torch.int64).clamp_max_(MAX_CATEGORIES - 1)
            values = self._category_values.gather(2, level.transpose(1, 2)).transpose(1, 2)
            x = torch.where(self._categorical, values, x)
        x = x.gather(2, self._columns.unsqueeze(1).expand(-1, x.shape[1], -1))
        if self._stairs:
            columns = x.transpose(1, 2).contiguous()
            x = self._middles.gather(2, torch.searchsorted(self._cuts, columns)).transpose(1, 2)
        if self._warped:
            x = 1 - (1 - x**self._a).clamp_min_(0.0) ** self._b
        return torch.where(self._flip, 1 - x, x)
