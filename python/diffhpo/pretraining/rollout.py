# SPDX-License-Identifier: Apache-2.0
"""Rollouts: optimisation runs on training functions, the model's own and a rival's, for training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.model.universal.dimensions import Dimensions
from diffhpo.model.universal.transformer import UniversalContext
from diffhpo.pretraining.rollout_acquisition import RolloutAcquisition
from diffhpo.prior.task_batch import TaskBatch, points_at

#: Initial trials of a rollout, all broad points.
INITIAL = 5
#: Trials at the end of a rollout.
LENGTH = 45
#: Configurations with the largest acquisition value that are remembered at each trial.
ASKED = 16
#: Candidates at each trial: broad ones, and searched ones nearest to the best three trials.
_BROAD, _NEAR = 96, 48
_FEWEST_POINTS = 256
#: Functions of rollout chunks are counted from here, so that they are not those of other chunks.
FIRST_CHUNK = 1_000_000


@dataclass(frozen=True)
class Rollouts:
    """Runs on B functions, as places in the functions' lists of evaluated points."""

    order: Tensor
    """(B, LENGTH) int64: the points in the order of evaluation."""
    asked: Tensor
    """(B, LENGTH, ASKED) int64: [b, n] are the points most wanted after n trials, n >= INITIAL."""

    def rows(self, index: Tensor | slice) -> Rollouts:
        """Those of some of the functions."""
        return Rollouts(self.order[index], self.asked[index])


def roll_out(wants: RolloutAcquisition, tasks: TaskBatch, generator: torch.Generator) -> Rollouts:
    """Optimise B functions over their evaluated points.

    Args:
        wants: scores candidates at each trial.
        tasks: the functions.
        generator: of initial points and candidates.

    Raises:
        InputError: if the functions have fewer than 256 points.
    """
    batch = len(tasks)
    if tasks.x.shape[1] < _FEWEST_POINTS:
        raise InputError(f"tasks have {tasks.x.shape[1]} points each; rollouts need {_FEWEST_POINTS}")
    broad_keys = torch.rand(batch, tasks.x.shape[1], generator=generator)
    order = broad_keys.masked_fill(~tasks.broad, -1.0).topk(INITIAL, dim=1).indices
    asked = torch.zeros(batch, LENGTH, ASKED, dtype=torch.int64)
    dimensions = Dimensions(tasks.kinds, tasks.roles)
    for n in range(INITIAL, LENGTH):
        seen = torch.zeros_like(tasks.broad).scatter(1, order, True)
        y = tasks.y.gather(1, order)
        keys = torch.rand(tasks.y.shape, generator=generator).masked_fill(~tasks.broad | seen, -1.0)
        broad = keys.topk(_BROAD, dim=1).indices
        best = order.gather(1, y.topk(3, dim=1).indices)
        distance = torch.cdist(tasks.x, points_at(tasks.x, best)).amin(2)
        # Chance among the nearest, or the same few would stand at every trial.
        distance = distance * (0.5 + torch.rand(distance.shape, generator=generator))
        near = distance.masked_fill(seen | tasks.broad, torch.inf).topk(_NEAR, dim=1, largest=False).indices
        candidates = torch.cat([broad, near], dim=1)
        context = UniversalContext(
            points_at(tasks.x, order), y, torch.ones(batch, n, dtype=torch.bool), dimensions
        )
        score = wants(context, points_at(tasks.x, candidates))
        score = score.masked_fill(seen.gather(1, candidates), -torch.inf)
        wanted = candidates.gather(1, score.topk(ASKED, dim=1).indices)
        asked[:, n] = wanted
        order = torch.cat([order, wanted[:, :1]], dim=1)
    return Rollouts(order, asked)
