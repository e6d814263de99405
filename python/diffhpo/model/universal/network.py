# SPDX-License-Identifier: Apache-2.0
"""The universal Network: a noise prediction whose first and last layers the context's codes write."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diffhpo.model.network import Network, ResidualBlock, sinusoidal_features
from diffhpo.model.universal.transformer import UniversalEmbedding
from diffhpo.process.drawn_from import drawn_from

#: Numbers that describe a wanted improvement: its size, whether it is given, and whether all is wanted.
_WISH = 3


def wish(
    improvement: Tensor | None, batch: int, *, optimum: bool, device: torch.device | None = None
) -> Tensor:
    """(B, 3): the improvement that is asked for.

    Args:
        improvement: (B,) wanted z minus the best z so far; None leaves it open.
        optimum: ask for the best configuration of all.
    """
    given = torch.zeros(batch, device=device) if improvement is None else improvement.clamp(-3, 3)
    flags = torch.tensor([float(improvement is not None), float(optimum)], device=device)
    return torch.cat([given.unsqueeze(1), flags.expand(batch, 2)], dim=1)


class UniversalNetwork(nn.Module):
    """eps(x_t, t, I, context) for spaces of any dimension: a `Network` written for each context.

    Column j of its input layer and row j of its output layer are linear in the code of dimension j, so the
    dimensions may come in any order and number. `write` makes the plain Network for one context, which every
    kernel of the reverse loop takes.

    Args:
        width: of the residual stream and of the codes.
        blocks: residual blocks.
        time_features: as `Network`.
    """

    def __init__(self, *, width: int = 64, blocks: int = 3, time_features: int = 32) -> None:
        super().__init__()
        self.width, self.time_features = width, time_features
        self.input = nn.Linear(width, width)
        self.input_bias = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.output_bias = nn.Linear(width, 1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        shifts = blocks * 2 * width
        self.time = nn.Sequential(nn.Linear(time_features, width), nn.SiLU(), nn.Linear(width, shifts))
        self.flag = nn.Embedding(3, shifts)
        self.wish = nn.Sequential(nn.Linear(width + _WISH, width), nn.SiLU(), nn.Linear(width, width))
        self.context = nn.Linear(width, shifts, bias=False)

    @property
    def config(self) -> dict[str, int]:
        """The constructor's arguments."""
        return {"width": self.width, "blocks": len(self.blocks), "time_features": self.time_features}

    def pooled(self, embedding: UniversalEmbedding, wishes: Tensor) -> Tensor:
        """(B, width) context embedding and (B, 3) wishes -> (B, width) context vector of the Network."""
        out: Tensor = embedding.pooled + self.wish(torch.cat([embedding.pooled, wishes], dim=-1))
        return out

    def forward(
        self, x: Tensor, t: Tensor, improve: Tensor, embedding: UniversalEmbedding, wishes: Tensor
    ) -> Tensor:
        """Predict the noise, for training: T noisy configurations for each of B contexts.

        Args:
            x: (B, T, D) noisy configurations, in the space where x_0 lies in [-1, 1]; 0 in padding.
            t: (B, T) timesteps.
            improve: (B, T) flags, 0, 1 or `NO_FLAG`.
            wishes: (B, T, 3)

        Returns:
            (B, T, D), 0 in padding.
        """
        mask = embedding.context.dimensions.mask.unsqueeze(-1)
        root = embedding.context.dimensions.count.sqrt()[..., None]
        columns = self.input(embedding.codes) * mask / root
        rows = self.output(embedding.codes) * mask / math.sqrt(self.width)
        bias = self.output_bias(embedding.codes) * mask
        pooled = embedding.pooled.unsqueeze(1)
        context = pooled + self.wish(torch.cat([pooled.expand(*t.shape, -1), wishes], dim=-1))
        time = self.time(sinusoidal_features(t.flatten(), self.time_features).to(x.dtype))
        shift = time.view(*t.shape, -1) + self.flag(improve) + self.context(context)
        shift = shift.unflatten(-1, (len(self.blocks), -1))
        h = x @ columns + self.input_bias(embedding.pooled).unsqueeze(1)
        for index, block in enumerate(self.blocks):
            h = block(h, shift[:, :, index])
        return h @ rows.mT + bias.mT

    def unwritten(self, dim: int) -> Network:
        """A Network for `dim` dimensions whose first and last layers are still to be written."""
        with drawn_from(0):  # a Network draws first weights, which are replaced here
            network = Network(
                dim,
                width=self.width,
                blocks=len(self.blocks),
                context_width=self.width,
                time_features=self.time_features,
            ).to(self.input.weight.device)
        assert network.context is not None
        pairs = (
            (network.blocks, self.blocks),
            (network.time, self.time),
            (network.flag, self.flag),
            (network.context, self.context),
        )
        with torch.no_grad():
            # load_state_dict makes a RuntimeError of what a signal handler raises meanwhile.
            for copy, original in pairs:
                for to, of in zip(copy.parameters(), original.parameters(), strict=True):
                    to.copy_(of)
        return network.requires_grad_(False)

    @torch.no_grad()
    def write(self, network: Network, embedding: UniversalEmbedding) -> None:
        """Make an `unwritten` Network the one for a context; it takes `pooled` as its context vector.

        Args:
            network: of the context's dimension.
            embedding: of one context without padding dimensions.
        """
        codes = embedding.codes[0]
        network.input.weight.copy_(self.input(codes).T / math.sqrt(len(codes)))
        network.input.bias.copy_(self.input_bias(embedding.pooled)[0])
        network.output.weight.copy_(self.output(codes) / math.sqrt(self.width))
        network.output.bias.copy_(self.output_bias(codes)[:, 0])
