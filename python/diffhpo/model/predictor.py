# SPDX-License-Identifier: Apache-2.0
"""The Predictor: p(y | x, C), the value of a configuration given a context of evaluated ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffhpo.errors import InputError
from diffhpo.model.bar_distribution import BarDistribution, normal_borders
from diffhpo.model.transformer import ContextEmbedding
from diffhpo.process.torch_defaults import float32


class AttendingLayer(nn.Module):
    """Candidates attend to a context, then an MLP of twice the width; each on normalised rows (pre-norm).

    Keys and values have no bias: one of the keys would shift all scores of a candidate alike, which the
    softmax ignores, and one of the values would add to that of the output.
    """

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width, bias=False)
        self.value = nn.Linear(context_width, width, bias=False)
        self.attention_output = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """h (B, N, width); tokens (B, M, context_width); mask (B, M) with a true in each row, or None."""

        def split(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        attended = nn.functional.scaled_dot_product_attention(
            split(self.query(self.attention_norm(h))),
            split(self.key(tokens)),
            split(self.value(tokens)),
            None if mask is None else mask[:, None, None],
        )
        h = h + self.attention_output(attended.transpose(1, 2).flatten(2))
        return h + self.mlp(self.mlp_norm(h))


class Predictor(nn.Module):
    """In-context prediction of y: candidates attend to the context that a Transformer has embedded.

    A prior-fitted network (Mueller et al. 2022, arXiv 2112.10510): one forward pass gives the distribution
    of the standardised value of every candidate, as the logits of a `BarDistribution`. Candidates do not
    see each other, so the prediction for one never depends on the others; nor does it on the order of the
    context. `Scorer` runs it on trials, on a chosen executor.

    Args:
        dim: dimensions d of a configuration.
        width: width W of a candidate's residual stream, a multiple of `heads`.
        layers: attending layers.
        heads: attention heads.
        context_width: width of the Transformer's tokens.
        bars: bars of the predicted distribution, at least 2.

    Raises:
        InputError: if a size is too small or `width` is not a multiple of `heads`.

    Example:
        >>> from diffhpo.model import ContextBatch, Transformer
        >>> context = Transformer(dim=2)(ContextBatch.single(torch.rand(7, 2), torch.rand(7)))
        >>> Predictor(dim=2)(torch.rand(5, 2), context).shape
        torch.Size([5, 64])
    """

    #: (bars + 1,) of the standardised values.
    borders: Tensor

    @float32()
    def __init__(
        self,
        dim: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        context_width: int = 32,
        bars: int = 64,
    ) -> None:
        super().__init__()
        if min(dim, width, layers, heads, context_width) < 1 or bars < 2 or width % heads:
            raise InputError(
                f"dim={dim}, width={width}, layers={layers}, heads={heads}, context_width={context_width}, "
                f"bars={bars}: sizes must be positive, bars at least 2 and width a multiple of heads"
            )
        self.dim, self.width, self.heads = dim, width, heads
        self.context_width, self.bars = context_width, bars
        self.input = nn.Linear(dim, width)
        self.layers = nn.ModuleList(AttendingLayer(width, heads, context_width) for _ in range(layers))
        self.output_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, bars)
        self.register_buffer("borders", normal_borders(bars).float())

    @property
    def config(self) -> dict[str, int]:
        """The constructor's arguments: `Predictor(**predictor.config)` has the same shape."""
        return {
            "dim": self.dim,
            "width": self.width,
            "layers": len(self.layers),
            "heads": self.heads,
            "context_width": self.context_width,
            "bars": self.bars,
        }

    def forward(self, x: Tensor, embedding: ContextEmbedding) -> Tensor:
        """Logits of the predicted distributions.

        Args:
            x: (B, N, d) candidates in [0, 1] for B contexts, or (N, d) for one; N may be 0.
            embedding: what the Transformer made of B contexts.

        Returns:
            (B, N, bars), or (N, bars) for x of rank 2.

        Raises:
            InputError: if shapes do not fit or the embedding has no anchor.
        """
        candidates = x.unsqueeze(0) if x.ndim == 2 else x
        if candidates.ndim != 3 or candidates.shape[-1] != self.dim:
            raise InputError(f"x has shape {tuple(x.shape)}; (N, {self.dim}) or (B, N, {self.dim}) is needed")
        if embedding.anchor is None:
            raise InputError("embedding has no anchor; give the one that Transformer returns")
        if len(embedding.tokens) != len(candidates) or embedding.tokens.shape[-1] != self.context_width:
            raise InputError(
                f"embedding has tokens {tuple(embedding.tokens.shape)}; ({len(candidates)}, M, "
                f"{self.context_width}) is needed"
            )
        tokens = torch.cat([embedding.anchor.unsqueeze(1), embedding.tokens], dim=1)
        mask = torch.cat([embedding.mask.new_ones(len(tokens), 1), embedding.mask], dim=1)
        h = self.input(2 * candidates - 1)
        for layer in self.layers:
            h = layer(h, tokens, mask)
        logits: Tensor = self.output(self.output_norm(h))
        return logits[0] if x.ndim == 2 else logits

    def distribution(self, logits: Tensor) -> BarDistribution:
        """The distributions of standardised y that logits (..., bars) stand for."""
        return BarDistribution(logits, self.borders)
