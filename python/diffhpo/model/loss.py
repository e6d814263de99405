# SPDX-License-Identifier: Apache-2.0
"""The Loss: how well the Network predicts the noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffhpo.model.network import Network
from diffhpo.model.noise_adder import NoiseAdder
from diffhpo.model.sampler import TrainingBatch
from diffhpo.model.transformer import Transformer


class Loss(nn.Module):
    """E || eps - eps_theta(x_t, t, I, Transformer(C)) ||^2 / d, the brief's equation 2.

    The expectation is over (x, I, C) from the Sampler, t uniform and eps ~ N(0, 1); configurations are scaled
    from [0, 1] to [-1, 1] here. A network that predicts nothing has loss 1.

    Args:
        network: predicts the noise.
        transformer: embeds the contexts.
        noise_adder: the forward process; linear with 1000 levels by default.

    Example:
        >>> from diffhpo.history import History
        >>> from diffhpo.model import Sampler
        >>> batch = Sampler(History([[0.2], [0.7]], [0.0, 1.0])).draw(8, seed=0)
        >>> loss = Loss(Network(1), Transformer(1))
        >>> loss(batch, torch.randn(8, 1, generator=torch.Generator().manual_seed(1))).ndim
        0
    """

    def __init__(
        self, network: Network, transformer: Transformer, noise_adder: NoiseAdder | None = None
    ) -> None:
        super().__init__()
        self.network, self.transformer = network, transformer
        self.noise_adder = noise_adder if noise_adder is not None else NoiseAdder()

    def forward(self, batch: TrainingBatch, eps: Tensor) -> Tensor:
        """The mean squared error on one batch, given its (B, d) noise; a scalar."""
        x_t = self.noise_adder(2 * batch.x - 1, batch.t, eps)
        embedding = self.transformer(batch.context)
        predicted = self.network(
            x_t, batch.t, batch.improve, embedding.pooled, embedding.tokens, embedding.mask
        )
        return torch.nn.functional.mse_loss(predicted, eps)
