# SPDX-License-Identifier: Apache-2.0
"""Where functions are evaluated: over the cube and its faces, then ever closer to the best points found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from diffhpo.prior.input_transform import InputTransform
from diffhpo.prior.random_draws import bernoulli, integers, log_uniform, normal, uniform
from diffhpo.prior.task_batch import CATEGORICAL

#: Share of the points that is spread over the space, rounds of search after them.
UNIFORM_SHARE, ROUNDS = 0.4, 6
#: Share of the spread points that lie on faces of the cube, and the largest expected share of such a point's
#: coordinates that stand at a bound. Optimizers ask for corners, which uniform points never show in many
#: dimensions: a model that has not seen them takes them for better than they are.
ON_FACES, MOST_AT_BOUNDS = 0.4, 0.8
#: At least so many uniform evaluations; those beyond the share serve `best_x` alone.
UNIFORM_LEAST = 256
#: Further rounds that serve `best_x` alone, 6 and one for every two dimensions, of so many points.
REFINEMENTS, REFINEMENT_POINTS = 6, 48
#: The best points that have children.
PARENTS = 12


class Elites(NamedTuple):
    """The best points of each function, best first."""

    x: Tensor
    """(B, P, d)"""
    value: Tensor
    """(B, P)"""

    @classmethod
    def of(cls, x: Tensor, value: Tensor, most: int) -> Elites:
        """The `most` best of the points x (B, M, d), or all of them."""
        value, rows = value.topk(min(most, value.shape[1]), dim=1)
        return cls(x.gather(1, rows.unsqueeze(2).expand(-1, -1, x.shape[2])), value)


class Found(NamedTuple):
    """Evaluated points, in random order, and the best configuration known."""

    x: Tensor
    """(B, N, d)"""
    value: Tensor
    """(B, N)"""
    broad: Tensor
    """(B, N) bool: which points are spread over the space, whatever the function."""
    best_x: Tensor
    """(B, d); it may be none of the points."""
    best_value: Tensor
    """(B,)"""


def spread_points(generator: Generator, batch: int, count: int, dim: int) -> Tensor:
    """(batch, count, dim) uniform points, `ON_FACES` of them moved to faces of the cube."""
    points = uniform(generator, batch, count, dim)
    share = uniform(generator, batch, count, 1, high=MOST_AT_BOUNDS)
    share = share * bernoulli(generator, batch, count, 1, probability=ON_FACES)
    pinned = uniform(generator, batch, count, dim) < share
    return torch.where(pinned, points.round(), points)


def _children(
    generator: Generator, inputs: InputTransform, parents: Tensor, count: int, low: float, high: float
) -> Tensor:
    """(B, count, d): crossovers and jittered copies of `parents` (B, P, d), jitter sd in [low, high]."""
    B, P, d = parents.shape
    # The smaller of two uniform ranks: the better of two parents.
    chosen = integers(generator, B, 4 * count, low=0, high=P)
    chosen[:, : 2 * count] = torch.minimum(chosen[:, : 2 * count], chosen[:, 2 * count :])
    picked = parents.gather(1, chosen.unsqueeze(2).expand(-1, -1, d)).view(B, 4, count, d)
    first, second, third, fourth = picked.unbind(1)
    crossed = bernoulli(generator, B, count, 1, probability=0.3) & bernoulli(
        generator, B, count, d, probability=0.5
    )
    child = torch.where(crossed, second, first)
    # Differential evolution: the elites' own spread sets length and direction of the step.
    along = bernoulli(generator, B, count, 1, probability=0.35)
    child = child + along * log_uniform(generator, B, count, 1, low=0.2, high=1.5) * (third - fourth)
    # One coordinate always moves; others with a probability of the child's own: from few to all of them.
    often = log_uniform(generator, B, count, 1, low=0.5 / d, high=2.0)
    draw = uniform(generator, B, count, d)
    moved = (draw < often) | (draw <= draw.amin(2, keepdim=True))
    scale = log_uniform(generator, B, count, 1, low=low, high=high)
    scale = torch.where(along, 0.1 * scale, scale)
    # A stepped column moves by a level at least half the time.
    steps = torch.where(inputs.levels > 0, 1.0 / inputs.levels.clamp_min(2.0), 0.0).unsqueeze(1)
    jitter = normal(generator, B, count, d) * torch.maximum(scale, steps)
    target = child + jitter
    if inputs.mixed:
        anew = uniform(generator, B, count, d)
        target = torch.where((inputs.kinds == CATEGORICAL).unsqueeze(1), anew, target)
    return inputs.snap(torch.where(moved, target, child))


def search(
    generator: Generator, inputs: InputTransform, function: Callable[[Tensor], Tensor], points: int
) -> Found:
    """Evaluate B functions at `points` points each, and look for their best configurations.

    Evaluations beyond `points` refine the best.
    """
    B, d = inputs.kinds.shape
    at_random = max(1, round(UNIFORM_SHARE * points))
    x = inputs.snap(spread_points(generator, B, max(at_random, UNIFORM_LEAST), d))
    value = function(x)
    found, values = [x[:, :at_random]], [value[:, :at_random]]
    elites = Elites.of(x, value, PARENTS)
    bounds = [at_random + (points - at_random) * r // ROUNDS for r in range(ROUNDS + 1)]
    sizes = [stop - start for start, stop in pairwise(bounds)]
    for round_, size in enumerate([*sizes, *[REFINEMENT_POINTS] * (REFINEMENTS + d // 2)]):
        if size == 0:
            continue
        children = _children(generator, inputs, elites.x, size, 0.002, max(0.03, 0.4 * 0.8**round_))
        value = function(children)
        elites = Elites.of(torch.cat([elites.x, children], 1), torch.cat([elites.value, value], 1), PARENTS)
        if round_ < ROUNDS:
            found.append(children)
            values.append(value)
    order = uniform(generator, B, points).argsort(1)
    shuffled = torch.cat(found, 1).gather(1, order.unsqueeze(2).expand(-1, -1, d))
    return Found(
        x=shuffled,
        value=torch.cat(values, 1).gather(1, order),
        broad=order < at_random,
        best_x=elites.x[:, 0],
        best_value=elites.value[:, 0],
    )
