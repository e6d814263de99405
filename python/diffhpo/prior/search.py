# SPDX-License-Identifier: Apache-2.0
"""Where functions are evaluated: uniformly, then ever closer to the best points found."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from diffhpo.prior.input_transform import InputTransform
from diffhpo.prior.random_draws import bernoulli, integers, log_uniform, normal, uniform
from diffhpo.prior.task_batch import CATEGORICAL

#: Share of the points that is uniform over the space, rounds of search after them.
UNIFORM_SHARE, ROUNDS = 0.4, 4
#: Further rounds around the best point, and their points, that serve `best_x` alone.
REFINEMENTS, REFINEMENT_POINTS = 2, 48
#: The best points that have children.
PARENTS = 12


def _children(
    generator: Generator, inputs: InputTransform, parents: Tensor, count: int, low: float, high: float
) -> Tensor:
    """(B, count, d): crossovers and jittered copies of `parents` (B, P, d), jitter sd in [low, high]."""
    B, P, d = parents.shape
    chosen = integers(generator, B, 2 * count, low=0, high=P).minimum(
        integers(generator, B, 2 * count, low=0, high=P)
    )
    pairs = parents.gather(1, chosen.unsqueeze(2).expand(-1, -1, d))
    first, second = pairs[:, :count], pairs[:, count:]
    crossed = bernoulli(generator, B, count, 1, probability=0.3) & bernoulli(
        generator, B, count, d, probability=0.5
    )
    child = torch.where(crossed, second, first)
    # One coordinate always moves; others with a probability of the child's own: from few to all of them.
    often = log_uniform(generator, B, count, 1, low=0.5 / d, high=2.0)
    draw = uniform(generator, B, count, d)
    moved = (draw < often) | (draw <= draw.amin(2, keepdim=True))
    scale = log_uniform(generator, B, count, 1, low=low, high=high)
    # A stepped column moves by a level at least half the time.
    steps = torch.where(inputs.levels > 0, 1.0 / inputs.levels.clamp_min(2.0), 0.0).unsqueeze(1)
    jitter = normal(generator, B, count, d) * torch.maximum(scale, steps)
    anew = uniform(generator, B, count, d)
    target = torch.where((inputs.kinds == CATEGORICAL).unsqueeze(1), anew, child + jitter)
    return inputs.snap(torch.where(moved, target, child))


def search(
    generator: Generator, inputs: InputTransform, function: Callable[[Tensor], Tensor], points: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x (B, points, d) in random order, its values, the best configuration (B, d) found and its value.

    The best may lie outside the points: further evaluations refine it.
    """
    B, d = inputs.kinds.shape
    at_random = max(1, round(UNIFORM_SHARE * points))
    x = inputs.snap(uniform(generator, B, at_random, d))
    value = function(x)
    bounds = [at_random + (points - at_random) * r // ROUNDS for r in range(ROUNDS + 1)]
    sizes = [stop - start for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
    for round_, size in enumerate([*sizes, *[REFINEMENT_POINTS] * REFINEMENTS]):
        if size == 0:
            continue
        refining = round_ >= ROUNDS
        best = value.topk(min(2 if refining else PARENTS, value.shape[1]), dim=1).indices
        parents = x.gather(1, best.unsqueeze(2).expand(-1, -1, d))
        widest = 0.05 if refining else 0.4 * 0.6**round_
        children = _children(generator, inputs, parents, size, 0.002, widest)
        x = torch.cat([x, children], dim=1)
        value = torch.cat([value, function(children)], dim=1)
    best_value, best = value.max(dim=1)
    best_x = x.gather(1, best.view(B, 1, 1).expand(-1, -1, d)).squeeze(1)
    order = uniform(generator, B, points).argsort(1)
    shuffled = x.gather(1, order.unsqueeze(2).expand(-1, -1, d))
    return shuffled, value.gather(1, order), best_x, best_value
