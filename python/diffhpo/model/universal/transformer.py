# SPDX-License-Identifier: Apache-2.0
"""The universal Transformer: a context of any dimension as tokens of trials and codes of dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffhpo.model.transformer import EncoderLayer, rank_within
from diffhpo.model.universal.dimensions import (
    BASIS,
    KINDS,
    MAX_DIM,
    ROLES,
    Dimensions,
    basis,
    canonical_order,
)
from diffhpo.model.universal.value_scale import ValueScale

#: Numbers that describe the value of one trial.
_VALUE_FEATURES = 5


@dataclass(frozen=True)
class UniversalContext:
    """B contexts, padded to the longest and to the widest."""

    x: Tensor
    """(B, n, D) in [0, 1], anything in padding; n may be 0."""
    y: Tensor
    """(B, n), larger is better."""
    mask: Tensor
    """(B, n) true where a trial exists."""
    dimensions: Dimensions


@dataclass(frozen=True)
class UniversalEmbedding:
    """What the Predictor and the Network read of B contexts."""

    context: UniversalContext
    scale: ValueScale
    z: Tensor
    """(B, n) float32 standardised values, 0 in padding."""
    codes: Tensor
    """(B, D, width) one vector for each dimension, 0 in padding."""
    tokens: Tensor
    """(B, 1 + n, width) the anchor, then one vector for each trial."""
    token_mask: Tensor
    """(B, 1 + n)"""
    pooled: Tensor
    """(B, width)"""

    @property
    def best(self) -> Tensor:
        """(B,) the largest z; 0 for an empty context."""
        if self.z.shape[1] == 0:
            return self.z.new_zeros(len(self.z))
        best = self.z.masked_fill(~self.context.mask, -torch.inf).amax(1)
        return torch.where(torch.isfinite(best), best, torch.zeros_like(best))


def masked_mean(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over `dim` of values (..., width) where mask (...) is true; 0 where it nowhere is."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim) / weights.sum(dim).clamp_min(1)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax of scores (..., heads) over `dim` where mask (...) is true; 0 where it nowhere is."""
    if scores.shape[dim] == 0:
        return scores
    filled = scores.masked_fill(~mask.unsqueeze(-1), -1e9)
    return filled.softmax(dim) * mask.unsqueeze(-1).to(scores.dtype)


class CoordinateEmbedding(nn.Module):
    """sum_j A(code_j) basis(x_j) / sqrt(d): the same points whatever the order of their dimensions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.matrix = nn.Linear(width, width * BASIS)

    def forward(self, x: Tensor, codes: Tensor, dimensions: Dimensions) -> Tensor:
        """x (B, N, D), codes (B, D, width) -> (B, N, width)."""
        matrix = self.matrix(codes).unflatten(-1, (BASIS, self.width))
        matrix = matrix * (dimensions.mask / dimensions.count.sqrt())[..., None, None]
        return basis(x).flatten(2) @ matrix.flatten(1, 2)


class UniversalTransformer(nn.Module):
    """Embeds sets of trials over spaces of 1 to 32 dimensions.

    First every dimension looks at its own column of all trials and gets a code; then every trial becomes a
    token, the sum over dimensions of what the codes make of its coordinates; the tokens attend to each other;
    last the codes look again, at trials weighted by what their tokens say. Sums run over trials and over
    dimensions alone, so neither order matters.

    Args:
        width: of codes and tokens, a multiple of twice `heads`.
        layers: self-attention layers over trials.
        heads: attention heads.

    Example:
        >>> context = UniversalContext(
        ...     torch.rand(1, 6, 3), torch.rand(1, 6), torch.ones(1, 6, dtype=torch.bool),
        ...     Dimensions.continuous(1, 3))
        >>> embedding = UniversalTransformer(width=32)(context)
        >>> embedding.tokens.shape, embedding.codes.shape
        (torch.Size([1, 7, 32]), torch.Size([1, 3, 32]))
    """

    def __init__(self, *, width: int = 64, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.kind = nn.Embedding(KINDS, width)
        self.role = nn.Embedding(ROLES, width)
        self.name = nn.Embedding(MAX_DIM, width)
        # There are n d cells: they are half as wide as all else.
        cell = width // 2
        self.cell = nn.Linear(BASIS + _VALUE_FEATURES, cell)
        self.cell_tag = nn.Linear(width, cell, bias=False)
        self.cell_output = nn.Linear(cell, cell)
        self.cell_score = nn.Linear(cell, heads)
        self.first_code = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.first_mix = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.coordinates = CoordinateEmbedding(width)
        self.value = nn.Linear(_VALUE_FEATURES, width)
        self.anchor = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        self.trial_score = nn.Linear(width, 2 * heads)
        self.token_norm = nn.LayerNorm(width)
        views = (2 * heads + 1) * BASIS
        self.second_code = nn.Sequential(
            nn.Linear(views + 2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.second_mix = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.code_norm = nn.LayerNorm(width)
        self.pool = nn.Sequential(nn.Linear(3 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        for table in (self.kind, self.role, self.name):
            nn.init.normal_(table.weight, std=0.3)

    @property
    def config(self) -> dict[str, int]:
        """The constructor's arguments."""
        return {"width": self.width, "layers": len(self.layers), "heads": self.heads}

    def forward(self, context: UniversalContext, names: Tensor | None = None) -> UniversalEmbedding:
        """Embed B contexts.

        Args:
            context: the trials.
            names: (B, D) different numbers below MAX_DIM that tell dimensions apart; `canonical_order` where
                it is left out.
        """
        mask, dimensions = context.mask, context.dimensions
        x = context.x.float().masked_fill(~dimensions.mask.unsqueeze(1), 0.0)
        scale = ValueScale.fit(context.y, mask)
        z = scale.standardise(context.y).float().masked_fill(~mask, 0.0)
        if names is None:
            names = canonical_order(x, z, mask, dimensions)
        values = self._value_features(z, mask)
        tags = self.kind(dimensions.kinds) + self.role(dimensions.roles) + self.name(names)

        grid = basis(x)
        cells = torch.cat([grid, values.unsqueeze(2).expand(*grid.shape[:3], -1)], dim=-1)
        cells = self.cell_output(nn.functional.silu(self.cell(cells) + self.cell_tag(tags).unsqueeze(1)))
        cell_mask = mask.unsqueeze(2).expand(cells.shape[:3])
        attention = masked_softmax(self.cell_score(cells), cell_mask, dim=1)
        heads = cells.unflatten(-1, (self.heads, -1))
        attended = (attention.unsqueeze(-1) * heads).sum(1).flatten(-2)
        codes = self.first_code(torch.cat([masked_mean(cells, cell_mask, 1), attended, tags], dim=-1))
        codes = codes + self.first_mix(_with_mean(codes, dimensions.mask))

        tokens = self.coordinates(x, codes, dimensions) + self.value(values)
        tokens = torch.cat([self.anchor.expand(len(x), 1, -1), tokens], dim=1)
        token_mask = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
        attention_mask = None if bool(token_mask.all()) else token_mask
        for layer in self.layers:
            tokens = layer(tokens, attention_mask)
        tokens = self.token_norm(tokens)

        weights = masked_softmax(self.trial_score(tokens[:, 1:]), mask, dim=1)
        views = torch.einsum("bih,bijk->bjhk", weights, grid).flatten(-2)
        views = torch.cat([views, masked_mean(grid, cell_mask, 1)], dim=-1)
        summary = tokens[:, 0].unsqueeze(1).expand(-1, codes.shape[1], -1)
        codes = codes + self.second_code(torch.cat([views, codes, summary], dim=-1))
        codes = codes + self.second_mix(_with_mean(codes, dimensions.mask))
        codes = self.code_norm(codes) * dimensions.mask.unsqueeze(-1)
        pooled = self.pool(
            torch.cat(
                [tokens[:, 0], masked_mean(tokens[:, 1:], mask, 1), masked_mean(codes, dimensions.mask, 1)],
                dim=-1,
            )
        )
        return UniversalEmbedding(context, scale, z, codes, tokens, token_mask, pooled)

    def _value_features(self, z: Tensor, mask: Tensor) -> Tensor:
        """(B, n, 5): z, its rank, how far below the best, whether it is the best, and how many there are."""
        if z.shape[1] == 0:
            return z.new_zeros(*z.shape, _VALUE_FEATURES)
        below = z - z.masked_fill(~mask, -torch.inf).amax(1, keepdim=True).clamp_min(-1e4)
        count = mask.sum(1, keepdim=True).float().log1p() / math.log(100)
        return torch.stack(
            [
                z.clamp(-4, 4),
                rank_within(z, mask),
                below.clamp_min(-6),
                (below == 0).float(),
                count.expand_as(z),
            ],
            dim=-1,
        )


def _with_mean(codes: Tensor, mask: Tensor) -> Tensor:
    """(B, D, width) -> (B, D, 2 width): each code beside the mean of all."""
    return torch.cat([codes, masked_mean(codes, mask, 1).unsqueeze(1).expand_as(codes)], dim=-1)
