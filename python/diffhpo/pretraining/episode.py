# SPDX-License-Identifier: Apache-2.0
"""Episodes: what the universal model learns from, drawn from functions that were evaluated at many points."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffhpo.model.network import NO_FLAG
from diffhpo.model.universal.dimensions import MAX_DIM, Dimensions
from diffhpo.model.universal.transformer import UniversalContext
from diffhpo.pretraining.rollout import INITIAL, Rollouts
from diffhpo.prior.task_batch import TaskBatch, points_at


@dataclass(frozen=True)
class Episode:
    """B contexts, with values to predict and configurations to generate."""

    context: UniversalContext
    names: Tensor
    """(B, D) the names of the dimensions, see `canonical_order`."""
    query: Tensor
    """(B, N, D) configurations whose value is to be predicted."""
    query_y: Tensor
    """(B, N) their values."""
    target: Tensor
    """(B, T, D) configurations to generate."""
    improvement: Tensor
    """(B, T) value of the target beyond the context's best, in units of y."""
    improve: Tensor
    """(B, T) flag I: 1 better than the whole context, 0 not, or withheld."""
    optimum: Tensor
    """(B, T) bool, true where the target is the best configuration known."""
    tells: Tensor
    """(B, T) bool, true where the size of the improvement is given."""

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for `of`."""
        context, own = self.context, {f.name: getattr(self, f.name) for f in fields(self)}
        del own["context"]
        return {
            "x": context.x,
            "y": context.y,
            "mask": context.mask,
            "kinds": context.dimensions.kinds,
            "roles": context.dimensions.roles,
            **own,
        }

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Episode:
        """The episode of these `tensors`."""
        own = {f.name: tensors[f.name] for f in fields(cls) if f.name != "context"}
        dimensions = Dimensions(tensors["kinds"], tensors["roles"])
        return cls(UniversalContext(tensors["x"], tensors["y"], tensors["mask"], dimensions), **own)

    def to(self, device: torch.device) -> Episode:
        """The same on `device`."""
        return Episode.of({name: tensor.to(device) for name, tensor in self.tensors().items()})


def context_size(generator: torch.Generator, largest: int) -> int:
    """A number of trials: 0 to 3 in 15% of the draws, else log-uniform from 4 to `largest`."""
    draw = torch.rand(2, generator=generator)
    if draw[0] < 0.15:
        return int(4 * draw[1])
    return int(math.exp(math.log(4) + float(draw[1]) * (math.log(largest + 1) - math.log(4))))


def draw_episode(
    tasks: TaskBatch,
    generator: torch.Generator,
    *,
    trials: int | None = None,
    largest: int = 100,
    queries: int = 64,
    targets: int = 16,
    rollouts: Rollouts | None = None,
) -> Episode:
    """One context, queries and targets for each function of a batch.

    A third of the contexts are broad points alone, as a random search makes them. The others look like the
    history of an optimizer: some broad points first, the rest drawn toward the good ones with weight
    exp(greed rank), greed up to 6. Where rollouts are given, contexts are their first trials, and what the
    model wanted to evaluate next is among the queries.

    Args:
        tasks: B functions.
        generator: of all draws.
        trials: of each context; drawn by `context_size` where it is left out.
        largest: trials at most.
        queries: values to predict for each context.
        targets: configurations to generate for each context; half of them are the best known.
        rollouts: runs on the same functions.
    """
    batch, points, width = tasks.x.shape
    if rollouts is not None:
        n = int(torch.randint(INITIAL, rollouts.order.shape[1], (1,), generator=generator))
    else:
        n = context_size(generator, largest) if trials is None else trials
    broad_y = tasks.y.masked_fill(~tasks.broad, 0.0)
    count = tasks.broad.sum(1, keepdim=True)
    centre = broad_y.sum(1, keepdim=True) / count
    spread = (((tasks.y - centre) ** 2).masked_fill(~tasks.broad, 0.0).sum(1, keepdim=True) / count).sqrt()
    spread = spread.clamp_min(1e-12)
    y = (tasks.y - centre) / spread
    value = (tasks.value - centre) / spread
    best_value = (tasks.best_value.unsqueeze(1) - centre) / spread

    rank = value.argsort(1).argsort(1) / (points - 1)
    at_best = value >= best_value - 1e-6
    noise = _gumbel(batch, points, generator)
    style = torch.rand(batch, 1, generator=generator)
    greed = 6 * torch.rand(batch, 1, generator=generator)
    start = torch.where(
        style < 0.35, torch.tensor(float(n)), 2 + 8 * torch.rand(batch, 1, generator=generator)
    )
    # The first `start` places go to broad points, the rest to any, drawn with weight exp(greed rank).
    opening = (noise.masked_fill(~tasks.broad, -torch.inf).argsort(1, descending=True).argsort(1)) < start
    keys = greed * rank + _gumbel(batch, points, generator)
    keys = torch.where(opening & tasks.broad, keys + 1e3, keys).masked_fill(at_best, -torch.inf)
    if rollouts is not None:
        keys = torch.zeros_like(keys).scatter(1, rollouts.order[:, :n], 1.0)
    chosen = keys.argsort(1, descending=True)
    inside, outside = chosen[:, :n], chosen[:, n:]

    if rollouts is None:
        wanted = _draw_queries(tasks, inside, outside, queries, generator)
    else:
        asked = rollouts.asked[:, n]
        rest = _draw_queries(tasks, inside, outside, queries - asked.shape[1], generator)
        wanted = torch.cat([asked, rest], dim=1)

    keys = 4 * rank + _gumbel(batch, points, generator)
    drawn = keys.topk(targets - targets // 2, dim=1).indices
    best = tasks.best_x.unsqueeze(1).expand(-1, targets // 2, -1)
    target = torch.cat([points_at(tasks.x, drawn), best], dim=1)
    target_value = torch.cat([torch.gather(value, 1, drawn), best_value.expand(-1, targets // 2)], dim=1)
    context_y = torch.gather(y, 1, inside)
    # Of nothing seen everything is an improvement; its size is then counted from the broad points' mean.
    incumbent = torch.gather(value, 1, inside).amax(1, keepdim=True) if n else torch.zeros(batch, 1)
    improvement = target_value - incumbent
    improve = (improvement >= 0).long() if n else torch.ones_like(target_value, dtype=torch.long)
    withheld = torch.rand(improve.shape, generator=generator) < 0.1
    optimum = torch.zeros_like(withheld)
    optimum[:, targets - targets // 2 :] = True
    tells = (torch.rand(improve.shape, generator=generator) < 0.7) & ~optimum & (n > 0)

    kinds = tasks.kinds
    names = torch.rand(batch, MAX_DIM, generator=generator).argsort(1)[:, :width]
    return Episode(
        UniversalContext(
            points_at(tasks.x, inside),
            context_y,
            torch.ones(batch, n, dtype=torch.bool),
            Dimensions(kinds, tasks.roles),
        ),
        names,
        points_at(tasks.x, wanted),
        torch.gather(y, 1, wanted),
        target,
        improvement,
        improve.masked_fill(withheld, NO_FLAG),
        optimum,
        tells,
    )


def _draw_queries(
    tasks: TaskBatch, inside: Tensor, outside: Tensor, queries: int, generator: torch.Generator
) -> Tensor:
    """(B, queries) points whose value is to be predicted: 70% broad, the rest near the context.

    That a point is asked for must tell nothing of its value that the context does not tell: points that a
    search has found would teach the model that corners which are asked for are good. Broad points are
    independent of the function; of the searched ones only those near trials of the context are used.
    """
    batch, count = outside.shape
    broad = torch.gather(tasks.broad, 1, outside)
    keys = _gumbel(batch, count, generator)
    local = round(0.3 * queries) if inside.shape[1] else 0
    if local:
        distance = torch.cdist(points_at(tasks.x, outside), points_at(tasks.x, inside)).amin(2)
        near = distance.masked_fill(broad, torch.inf).argsort(1).argsort(1) < 4 * local
        near &= ~broad
        # Four times as many near ones as are wanted, of which chance takes some.
        share = torch.where(near, keys + 50, torch.where(broad, keys, keys - 50))
        first = share.topk(local, dim=1).indices
        keys = torch.where(broad, keys, keys - 50).scatter(1, first, -torch.inf)
        order = torch.cat([first, keys.topk(queries - local, dim=1).indices], dim=1)
    else:
        order = torch.where(broad, keys, keys - 50).topk(queries, dim=1).indices
    return torch.gather(outside, 1, order)


def _gumbel(batch: int, points: int, generator: torch.Generator) -> Tensor:
    """Adding it to log weights and taking the largest draws without replacement (Kool et al. 2019)."""
    uniform = torch.rand(batch, points, generator=generator).clamp(1e-12, 1 - 1e-7)
    return -(-uniform.log()).log()
