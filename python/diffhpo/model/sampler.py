# SPDX-License-Identifier: Apache-2.0
"""The Sampler: training triples (x, I, C) from a history H."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.arguments.finite_number import finite_number
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.kernels import training_reference
from diffhpo.kernels.training_problem import DrawRule, TrialTable
from diffhpo.model.transformer import ContextBatch, rank_within
from diffhpo.process.torch_defaults import torch_defaults


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
        >>> batch = Sampler(history).draw(4, seed=0)
        >>> batch.x.shape, batch.improve.shape, batch.context.mask.shape
        (torch.Size([4, 1]), torch.Size([4]), torch.Size([4, 3]))
    """

    @torch_defaults()
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
        if not isinstance(history, History):
            raise InputError(f"history is {type(history).__name__}; a diffhpo.History is needed")
        if len(history) == 0:
            raise InputError("history is empty; the Sampler needs at least one trial")
        timesteps = whole_number(timesteps, "timesteps", least=1)
        greed, jitter = finite_number(greed, "greed", least=0), finite_number(jitter, "jitter", least=0)
        jitter_share = finite_number(jitter_share, "jitter_share", least=0, most=1)
        flag_dropout = finite_number(flag_dropout, "flag_dropout", least=0, most=1)
        y = torch.tensor(history.y, dtype=torch.float64)
        rank = (rank_within(y.unsqueeze(0), torch.ones(1, len(y), dtype=torch.bool))[0] + 1) / 2
        #: The history and the options in the form that every executor draws from.
        self.table = TrialTable.of(torch.tensor(history.x), y, torch.exp(greed * rank))
        self.rule = DrawRule(timesteps, jitter, jitter_share, balanced, exclude_query, flag_dropout)

    @property
    def timesteps(self) -> int:
        """T, the number of noise levels that t is drawn from."""
        return self.rule.timesteps

    def draw(self, batch: int, seed: int, step: int = 0) -> TrainingBatch:
        """Draw `batch` triples: a function of seed and step alone, the same bits on every executor.

        Args:
            batch: how many.
            seed: in [0, 2^64).
            step: the training step, in [0, 2^32).

        Raises:
            InputError: if a number is out of range.
        """
        return self.draw_steps(batch, seed, range(step, step + 1))[0][0]

    def draw_steps(self, batch: int, seed: int, steps: range) -> list[tuple[TrainingBatch, Tensor]]:
        """The batches of several steps and their (B, d) noise, each the same as drawn alone.

        Raises:
            InputError: if a number is out of range.
        """
        drawn = training_reference.draw(self.table, self.rule, batch, seed, steps)
        x, y = self.table.x.expand(batch, -1, -1), self.table.y.expand(batch, -1)
        return [
            (
                TrainingBatch(drawn.x[k], drawn.improve[k], ContextBatch(x, y, drawn.mask[k]), drawn.t[k]),
                drawn.eps[k],
            )
            for k in range(len(steps))
        ]
