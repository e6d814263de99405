# SPDX-License-Identifier: Apache-2.0
"""The Transformer: embeds a context, a set of evaluated configurations, whatever its order and size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffhpo.arguments.whole_number import MOST_SIZE, whole_number
from diffhpo.errors import InputError
from diffhpo.process.torch_defaults import float32


@dataclass(frozen=True)
class ContextBatch:
    """B contexts, padded to the longest. Values where `mask` is false are ignored."""

    x: Tensor
    """(B, M, d) configurations in [0, 1]."""
    y: Tensor
    """(B, M) objective values, larger is better."""
    mask: Tensor
    """(B, M) bool, true where a trial exists."""

    @classmethod
    def single(cls, x: Tensor, y: Tensor) -> ContextBatch:
        """One context from (M, d) configurations and (M,) values; M may be 0."""
        return cls(x.unsqueeze(0), y.unsqueeze(0), torch.ones(1, len(y), dtype=torch.bool, device=x.device))


@dataclass(frozen=True)
class ContextEmbedding:
    """What Network and Predictor read of a context."""

    pooled: Tensor
    """(B, width)"""
    tokens: Tensor
    """(B, M, width)"""
    mask: Tensor
    """(B, M) bool"""
    anchor: Tensor | None = None
    """(B, width) the token that every context has, the empty one too; the Predictor needs it."""


def rank_within(y: Tensor, mask: Tensor) -> Tensor:
    """(B, M) values -> (B, M) mid-ranks in [-1, 1] among the unmasked of each row; 0 for ties of all."""
    count = mask.sum(-1, keepdim=True)
    filled = y.masked_fill(~mask, torch.inf).contiguous()
    ascending = filled.sort(-1).values
    below = torch.searchsorted(ascending, filled)
    # Masked entries stand at the end, among infinite values if there are such.
    above = count - torch.minimum(torch.searchsorted(ascending, filled, right=True), count)
    return ((below - above).to(y.dtype) / (count - 1).clamp(min=1)).masked_fill(~mask, 0.0)


def standardise_within(y: Tensor, mask: Tensor) -> Tensor:
    """(B, M) values -> (B, M) z-scores over the unmasked of each row, within [-4, 4]; 0 if constant."""
    count = mask.sum(-1, keepdim=True).clamp(min=1)
    # Scaling by the largest magnitude first keeps squares of values near the end of the float range finite.
    scale = y.masked_fill(~mask, 0.0).abs().amax(-1, keepdim=True) if y.shape[-1] else y.new_zeros(len(y), 1)
    y = (y / scale.clamp(min=torch.finfo(y.dtype).tiny)).masked_fill(~mask, 0.0)
    centred = (y - y.sum(-1, keepdim=True) / count).masked_fill(~mask, 0.0)
    deviation = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    # Below float resolution of the (scaled) values the spread is rounding, not information.
    z = torch.where(deviation > 1e-6, centred / deviation.clamp(min=1e-6), torch.zeros_like(centred))
    return z.clamp(-4, 4)


class EncoderLayer(nn.Module):
    """Self-attention and an MLP of twice the width, each on normalised tokens (pre-norm residual)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """tokens (B, M, width); mask (B, M), with at least one true in each row, or None: all exist."""
        batch, count, width = tokens.shape
        projected = self.query_key_value(self.attention_norm(tokens))
        query, key, value = projected.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, None if mask is None else mask[:, None, None]
        )
        tokens = tokens + self.attention_output(attended.transpose(1, 2).reshape(batch, count, width))
        return tokens + self.mlp(self.mlp_norm(tokens))


class Transformer(nn.Module):
    """A set encoder: tokens (x_i, y_i), self-attention without positional encoding, masked mean.

    Nothing in it depends on the order of the trials, so any permutation of the context gives the same
    embedding (up to the rounding of sums); no positional encoding is wanted, because trials of a run are a
    set. The empty context has a learned embedding of its own.

    Args:
        dim: dimensions d of a configuration.
        width: width of tokens and embedding, a multiple of `heads`.
        layers: encoder layers.
        heads: attention heads.

    Raises:
        InputError: if a size is not positive or `width` is not a multiple of `heads`.

    Example:
        >>> transformer = Transformer(dim=2)
        >>> transformer(ContextBatch.single(torch.rand(7, 2), torch.rand(7))).pooled.shape
        torch.Size([1, 32])
    """

    @float32()
    def __init__(self, dim: int, *, width: int = 32, layers: int = 1, heads: int = 2) -> None:
        super().__init__()
        dim, width, layers, heads = (
            whole_number(size, name, least=1, most=MOST_SIZE)
            for size, name in ((dim, "dim"), (width, "width"), (layers, "layers"), (heads, "heads"))
        )
        if width % heads:
            raise InputError(f"width is {width}; a multiple of heads, {heads}, is needed")
        self.dim, self.width, self.heads = dim, width, heads
        self.token = nn.Linear(dim + 2, width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        #: A token that is always present: attention has something to attend to in the empty context.
        self.anchor = nn.Parameter(torch.zeros(width))

    @property
    def config(self) -> dict[str, int]:
        """The constructor's arguments: `Transformer(**transformer.config)` has the same shape."""
        return {"dim": self.dim, "width": self.width, "layers": len(self.layers), "heads": self.heads}

    def features(self, context: ContextBatch) -> Tensor:
        """(B, M, d + 2): configurations in [-1, 1], rank and z-score of y in the context; 0 where masked."""
        dtype = self.token.weight.dtype
        y = context.y.double()
        shape = torch.stack([rank_within(y, context.mask), standardise_within(y, context.mask)], dim=-1)
        inputs = torch.cat([2 * context.x.to(dtype) - 1, shape.to(dtype)], dim=-1)
        return inputs.masked_fill(~context.mask.unsqueeze(-1), 0.0)

    def forward(self, context: ContextBatch) -> ContextEmbedding:
        """Embed B contexts.

        y enters as its rank and as its z-score within the context, so the embedding does not change when y
        is shifted or scaled by a positive factor.
        """
        inputs = self.features(context)
        dtype, batch = inputs.dtype, len(inputs)
        tokens = torch.cat([self.anchor.expand(batch, 1, -1), self.token(inputs)], dim=1)
        mask = torch.cat([torch.ones(batch, 1, dtype=torch.bool, device=inputs.device), context.mask], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        weights = mask.unsqueeze(-1).to(dtype)
        pooled = (tokens * weights).sum(1) / weights.sum(1)
        return ContextEmbedding(pooled, tokens[:, 1:], context.mask, tokens[:, 0])
