# SPDX-License-Identifier: Apache-2.0
"""The Network: predicts the noise in a configuration, given its level, the flag I and the context."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diffhpo.arguments.whole_number import MOST_SIZE, whole_number
from diffhpo.errors import InputError
from diffhpo.process.torch_defaults import float32

#: Row of the flag embedding that stands for "flag withheld" (classifier-free guidance).
NO_FLAG = 2


def sinusoidal_features(t: Tensor, width: int) -> Tensor:
    """(B,) timesteps -> (B, width) sines and cosines at geometric frequencies (Vaswani et al. 2017, 3.5)."""
    half = width // 2
    index = torch.arange(half, device=t.device, dtype=torch.float64)
    frequencies = torch.exp(index * (-math.log(10000) / half))
    phase = t.double().unsqueeze(-1) * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


class ResidualBlock(nn.Module):
    """h + W2 silu(W1 h + conditioning) + b2, with a hidden layer of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)

    def forward(self, h: Tensor, conditioning: Tensor) -> Tensor:
        return h + self.contract(nn.functional.silu(self.expand(h) + conditioning))


class CrossAttention(nn.Module):
    """h + Wo softmax((Wq h)(Wk c)^T / sqrt(width)) Wv c over the tokens c; h itself where there is none."""

    def __init__(self, width: int, context_width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(context_width, width, bias=False)
        self.value = nn.Linear(context_width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, h: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """h (B, W); tokens (B, M, C); mask (B, M), true where a token exists."""
        if tokens.shape[1] == 0:
            return h
        scores = (self.key(tokens) @ self.query(h).unsqueeze(-1)).squeeze(-1) / math.sqrt(h.shape[-1])
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        weights = weights.masked_fill(~mask, 0.0)  # a row without tokens is nan after the softmax
        attended = (weights.unsqueeze(1) @ self.value(tokens)).squeeze(1)
        return h + self.output(attended)


class Network(nn.Module):
    """eps(x_t, t, I, context): a residual MLP whose hidden layers are shifted by the conditioning.

    Time, flag and context each enter every block through a linear map, so that their sum is a vector per
    step and per run, not per candidate; the native reverse loop relies on that.

    Args:
        dim: dimensions d of a configuration.
        width: width h of the residual stream; hidden layers are 2 h wide.
        blocks: number of residual blocks.
        context_width: width of the pooled context embedding and of the context tokens; 0 for none.
        time_features: number of sinusoidal time features, even.
        cross_attention: also attend to the context's tokens before every block.

    Raises:
        InputError: if a size is not positive or `time_features` is odd.

    Example:
        >>> network = Network(dim=3, context_width=8)
        >>> x, t, improve = torch.zeros(5, 3), torch.arange(5), torch.ones(5, dtype=torch.long)
        >>> network(x, t, improve, torch.zeros(5, 8)).shape
        torch.Size([5, 3])
    """

    @float32()
    def __init__(
        self,
        dim: int,
        *,
        width: int = 64,
        blocks: int = 2,
        context_width: int = 32,
        time_features: int = 32,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        dim = whole_number(dim, "dim", least=1, most=MOST_SIZE)
        width = whole_number(width, "width", least=1, most=MOST_SIZE)
        blocks = whole_number(blocks, "blocks", least=1, most=MOST_SIZE)
        context_width = whole_number(context_width, "context_width", most=MOST_SIZE)
        time_features = whole_number(time_features, "time_features", least=2, most=MOST_SIZE)
        if time_features % 2:
            raise InputError(f"time_features is {time_features}; an even number is needed")
        if cross_attention and context_width == 0:
            raise InputError("cross_attention needs context_width > 0")
        self.dim, self.width = dim, width
        self.context_width, self.time_features = context_width, time_features
        self.input = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.attention = nn.ModuleList(
            CrossAttention(width, context_width) for _ in range(blocks if cross_attention else 0)
        )
        self.output = nn.Linear(width, dim)
        shifts = blocks * 2 * width
        self.time = nn.Sequential(nn.Linear(time_features, width), nn.SiLU(), nn.Linear(width, shifts))
        self.flag = nn.Embedding(3, shifts)
        self.context = nn.Linear(context_width, shifts, bias=False) if context_width else None

    @property
    def cross_attention(self) -> bool:
        """Whether the network attends to context tokens at every step."""
        return len(self.attention) > 0

    @property
    def config(self) -> dict[str, int | bool]:
        """The constructor's arguments: `Network(**network.config)` has the same shape."""
        return {
            "dim": self.dim,
            "width": self.width,
            "blocks": len(self.blocks),
            "context_width": self.context_width,
            "time_features": self.time_features,
            "cross_attention": self.cross_attention,
        }

    def time_conditioning(self, t: Tensor) -> Tensor:
        """(B,) timesteps -> (B, blocks, 2 * width), the part of the conditioning that depends on t."""
        features = sinusoidal_features(t, self.time_features).to(self.input.weight.dtype)
        return self.time(features).unflatten(-1, (len(self.blocks), -1))

    def run_conditioning(self, improve: Tensor, context: Tensor | None) -> Tensor:
        """(B,) flags and (B, context_width) -> (B, blocks, 2 * width), the part without t."""
        out: Tensor = self.flag(improve)
        if self.context is not None and context is not None:
            out = out + self.context(context)
        return out.unflatten(-1, (len(self.blocks), -1))

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        improve: Tensor,
        context: Tensor | None = None,
        tokens: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the noise.

        Args:
            x: (B, d) noisy configurations, in the scaled space where x_0 lies in [-1, 1].
            t: (B,) integer timesteps, counted from 0.
            improve: (B,) the flag I, 0 or 1, or `NO_FLAG`.
            context: (B, context_width) pooled embedding; None stands for the zero vector.
            tokens: (B, M, context_width) context tokens, for cross-attention only.
            mask: (B, M) true where a token exists; None means everywhere.

        Returns:
            (B, d) predicted noise.
        """
        conditioning = self.time_conditioning(t) + self.run_conditioning(improve, context)
        if tokens is not None and mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        h = self.input(x)
        for index, block in enumerate(self.blocks):
            if self.cross_attention and tokens is not None:
                h = self.attention[index](h, tokens, mask)
            h = block(h, conditioning[:, index])
        return self.output(h)
