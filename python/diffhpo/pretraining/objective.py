# SPDX-License-Identifier: Apache-2.0
"""What pretraining minimises: the surprise at unseen values, and the error of the predicted noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffhpo.model.noise_adder import NoiseAdder
from diffhpo.model.universal.model import UniversalModel
from diffhpo.pretraining.episode import Episode

#: A value further off than this many units of z counts as one at this distance.
_FARTHEST = 8.0

#: Surprise in nats above which a query no longer pulls: outliers must not own the gradient.
_MOST_SURPRISE = 15.0


class Losses(NamedTuple):
    """Means over a batch of episodes."""

    surprise: Tensor
    """-log p(z | x, C) in nats."""
    noise_error: Tensor
    """Mean squared error of the noise over existing dimensions (the brief's eq. 2)."""

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.surprise + self.noise_error


def episode_losses(
    model: UniversalModel, episode: Episode, adder: NoiseAdder, generator: torch.Generator
) -> Losses:
    """Both losses of one batch of episodes.

    Args:
        model: in training.
        episode: B contexts with queries and targets.
        adder: the Noise Adder.
        generator: of timesteps and noise.
    """
    embedding = model.transformer(episode.context, episode.names)
    conditioned = model.predictor.condition(embedding)
    predicted = model.predictor(conditioned, episode.query)
    z = embedding.scale.standardise(episode.query_y).float().clamp(-_FARTHEST, _FARTHEST)
    surprise = (-predicted.log_prob(z)).clamp_max(_MOST_SURPRISE).mean()

    target = episode.target
    mask = episode.context.dimensions.mask.unsqueeze(1).float()
    t = torch.randint(0, len(adder.schedule), target.shape[:2], generator=generator).to(target.device)
    noise = torch.randn(target.shape, generator=generator).to(target.device) * mask
    clean = (2 * target - 1).flatten(0, 1)
    noisy = adder(clean, t.flatten(), noise.flatten(0, 1)).view_as(target) * mask
    # The wish is stated in z, which is straight above the median.
    slope = (1 / (embedding.scale.span * embedding.scale.scale)).float()
    size = (episode.improvement * slope).clamp(-3, 3) * episode.tells
    wishes = torch.stack([size, episode.tells.float(), episode.optimum.float()], dim=-1)
    error = model.network(noisy, t, episode.improve, embedding, wishes) - noise
    weight = mask / mask.sum(-1, keepdim=True)
    noise_error = (error.square() * weight).sum(-1).mean()
    return Losses(surprise, noise_error)
