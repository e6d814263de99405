# SPDX-License-Identifier: Apache-2.0
"""The Sampler: training triples (x, I, C) from a history H."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.model.network import NO_FLAG
from diffhpo.model.transformer import ContextBatch, rank_within


@dataclass(frozen=True)
class TrainingBatch:
    """B independent draws of (x, I, C, t)."""

    x: Tensor
    """(B, d) float32 query configurations in [0, 1]."""
    improve: Tensor
    """(B,) int64, the flag I: 1 if no member of the context is better than x, else 0; or NO_FLAG."""
    context: ContextBatch
    """(B, n) contexts; the mask says which trials of H are members."""
    t: Tensor
    """(B,) int64 timesteps, uniform in [0, T)."""


class Sampler:
    """Draws vectorised batches of (x, I, C, t) from a history.

    With every option off this is the brief's Sampler: (x, y) uniform over H; C a random subset of H, where
    each member joins with one probability u ~ U(0, 1) a draw, so that all sizes from none to all occur; I = 1
    iff no member of C has y' > y; t uniform.

    Args:
        history: H, at least one trial.
        timesteps: T.
        greed: queries are drawn with weight exp(greed * r), r in [0, 1] their rank in H; 0 is uniform.
        jitter: standard deviation of normal noise added to queries, on the [-1, 1] scale, then reflected at
            the faces of the cube. Without it the model can only repeat the points of H.
        jitter_share: the share of queries that get the jitter.
        balanced: in half of the draws remove from C all that is better than x, so that I = 1 there. Without
            it I = 1 in about log(n) / n of the draws.
        exclude_query: keep x itself out of its own context.
        flag_dropout: the share of draws whose flag is withheld (classifier-free guidance).

    Raises:
        InputError: on an empty history or an option out of range.

    Example:
        >>> history = History([[0.1], [0.5], [0.9]], [1.0, 3.0, 2.0])
        >>> batch = Sampler(history).draw(4, torch.Generator().manual_seed(0))
        >>> batch.x.shape, batch.improve.shape, batch.context.mask.shape
        (torch.Size([4, 1]), torch.Size([4]), torch.Size([4, 3]))
    """

    def __init__(
        self,
        history: History,
        *,
        timesteps: int = 1000,
        greed: float = 0.0,
        jitter: float = 0.0,
        jitter_share: float = 1.0,
        balanced: bool = False,
        exclude_query: bool = False,
        flag_dropout: float = 0.0,
    ) -> None:
        if len(history) == 0:
            raise InputError("history is empty; the Sampler needs at least one trial")
        if timesteps < 1 or greed < 0 or jitter < 0:
            raise InputError(f"timesteps={timesteps}, greed={greed}, jitter={jitter}: none may be negative")
        for name, share in (("jitter_share", jitter_share), ("flag_dropout", flag_dropout)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} is {share}; a share lies in [0, 1]")
        self.timesteps = timesteps
        self.jitter, self.jitter_share = jitter, jitter_share
        self.balanced, self.exclude_query, self.flag_dropout = balanced, exclude_query, flag_dropout
        self._x = torch.tensor(history.x, dtype=torch.float32)
        self._y = torch.tensor(history.y, dtype=torch.float64)
        everyone = torch.ones(1, len(history), dtype=torch.bool)
        rank = (rank_within(self._y.unsqueeze(0), everyone)[0] + 1) / 2
        self._weights = torch.exp(greed * rank)
        self._better = self._y.unsqueeze(0) > self._y.unsqueeze(1)  # [query, member]

    def draw(self, batch: int, generator: torch.Generator) -> TrainingBatch:
        """Draw `batch` triples; the generator's state alone decides which."""
        count = len(self._y)
        query = torch.multinomial(self._weights, batch, replacement=True, generator=generator)
        share = torch.rand(batch, 1, generator=generator)
        mask = torch.rand(batch, count, generator=generator) < share
        if self.exclude_query:
            mask[torch.arange(batch), query] = False
        better = self._better[query]
        if self.balanced:
            cleared = torch.rand(batch, 1, generator=generator) < 0.5
            mask = mask & ~(better & cleared)
        improve = (~(mask & better).any(dim=1)).long()
        if self.flag_dropout:
            improve[torch.rand(batch, generator=generator) < self.flag_dropout] = NO_FLAG
        x = self._x[query]
        if self.jitter:
            jittered = torch.rand(batch, 1, generator=generator) < self.jitter_share
            # 2x - 1 moves by `jitter`, so x moves by half of it.
            x = x + jittered * torch.randn(x.shape, generator=generator) * (self.jitter / 2)
            # Reflection at 0 and 1: the line folded with period 2.
            x = x.remainder(2)
            x = torch.minimum(x, 2 - x)
        t = torch.randint(self.timesteps, (batch,), generator=generator)
        context = ContextBatch(self._x.expand(batch, -1, -1), self._y.expand(batch, -1), mask)
        return TrainingBatch(x, improve, context, t)
