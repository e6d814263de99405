# SPDX-License-Identifier: Apache-2.0
"""Categorical columns of tasks as search spaces encode them: one column for each choice."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot, pad

from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.prior.task_batch import CATEGORICAL, PADDING, TaskBatch

#: Share of the functions with categorical columns that get them one-hot.
SHARE = 0.7
#: More choices than this stay one column.
MOST_CHOICES = 12


def choices_apart(tasks: TaskBatch, generator: Generator) -> TaskBatch:
    """The same functions; most of those with categorical columns of three or more choices get them one-hot.

    A function whose columns would be more than 32 stays as it is. Which functions is drawn; how many choices
    a column has is told by its values at the evaluated points.

    Example:
        >>> from diffhpo.prior import PriorSampler
        >>> tasks = PriorSampler(seed=2, max_dim=6).batch(0, 64, 128)
        >>> apart = choices_apart(tasks, torch.Generator().manual_seed(0))
        >>> int(apart.dims.max()) > int(tasks.dims.max()), torch.equal(apart.y, tasks.y)
        (True, True)
    """
    wanted = torch.rand(len(tasks), generator=generator) < SHARE
    x, best, kinds, roles, dims = [], [], [], [], []
    for row in range(len(tasks)):
        dim = int(tasks.dims[row])
        own = _Columns(
            torch.cat([tasks.x[row, :, :dim], tasks.best_x[row : row + 1, :dim]]),
            tasks.kinds[row, :dim],
            tasks.roles[row, :dim],
        )
        apart = own.apart() if wanted[row] else own
        apart = apart if apart.x.shape[1] <= MAX_DIM else own
        x.append(apart.x[:-1])
        best.append(apart.x[-1])
        kinds.append(apart.kinds)
        roles.append(apart.roles)
        dims.append(apart.x.shape[1])
    width = max(dims)

    def stacked(rows: list[Tensor], fill: int) -> Tensor:
        return torch.stack([pad(one, (0, width - one.shape[-1]), value=fill) for one in rows])

    return replace(
        tasks,
        x=stacked(x, 0),
        best_x=stacked(best, 0),
        kinds=stacked(kinds, PADDING),
        roles=stacked(roles, 0),
        dims=torch.tensor(dims),
    )


class _Columns:
    """The columns of one function."""

    def __init__(self, x: Tensor, kinds: Tensor, roles: Tensor) -> None:
        self.x, self.kinds, self.roles = x, kinds, roles

    def apart(self) -> _Columns:
        parts, copies = [], []
        for column in range(self.x.shape[1]):
            values, place = self.x[:, column].unique(return_inverse=True)
            split = self.kinds[column] == CATEGORICAL and 3 <= len(values) <= MOST_CHOICES
            parts.append(one_hot(place).to(self.x.dtype) if split else self.x[:, column : column + 1])
            copies.append(parts[-1].shape[1])
        repeats = torch.tensor(copies)
        return _Columns(
            torch.cat(parts, 1), self.kinds.repeat_interleave(repeats), self.roles.repeat_interleave(repeats)
        )
