# SPDX-License-Identifier: Apache-2.0
"""The universal Predictor: p(y | x, C) as a mixture of Gaussian processes that attention corrects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffhpo.model.predictor import AttendingLayer
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import (
    GaussianProcesses,
    JointPosterior,
    NativePosterior,
)
from diffhpo.model.universal.transformer import CoordinateEmbedding, UniversalEmbedding

#: Kernels of the mixture's processes.
KERNELS = ("matern52", "matern52", "matern12", "squared_exponential")

#: Learned coordinates that join the configuration's own in the kernels (a deep kernel, Wilson et al. 2016).
_FEATURES = 8

_K = len(KERNELS)


@dataclass(frozen=True)
class KernelSpace:
    """In which coordinates the kernels of B contexts are isotropic, and their prior means."""

    inverse_lengthscale: Tensor
    """(B, K, D)"""
    warp: tuple[Tensor, Tensor]
    """(B, 1, D) exponents a, b of 1 - (1 - x^a)^b."""
    emphasis: Tensor
    """(B, 1, F) factors of the learned coordinates."""
    constant: Tensor
    """(B, K) prior means, without the learned part."""


@dataclass(frozen=True)
class ConditionedPredictor:
    """What is known of B contexts before any candidate is."""

    embedding: UniversalEmbedding
    space: KernelSpace
    processes: GaussianProcesses
    log_weights: Tensor
    """(B, K) of the processes, evidence included."""


class UniversalPredictor(nn.Module):
    """p(y | x, C) for spaces of any dimension.

    The codes of the dimensions give lengthscales and a Kumaraswamy warp each (Snoek et al. 2014 warp with
    the Beta distribution), the pooled context gives amplitudes, noise and means of a few Gaussian processes,
    which are then conditioned on the trials exactly. They are weighted by how well they explain the trials
    (their evidence) and by what training found of their worth. Candidates attend to the trials last, and
    correct weights, means and deviations. All is trained for the likelihood of unseen values.

    Args:
        width: that of the Transformer.
        layers: attending layers of the correction.
        heads: attention heads, a divisor of `width`.
    """

    def __init__(self, *, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.per_dimension = nn.Linear(width, _K + 2)
        self.per_context = nn.Linear(width, 4 * _K + _FEATURES)
        self.coordinates = CoordinateEmbedding(width)
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
        self.hidden_shift = nn.Linear(width, width)
        self.features = nn.Linear(width, _FEATURES)
        self.mean = nn.Linear(width, _K)
        self.evidence_weight = nn.Parameter(torch.tensor(-0.5))
        self.posterior = nn.Linear(3 * _K, width)
        self.layers = nn.ModuleList(AttendingLayer(width, heads, width) for _ in range(layers))
        self.output_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, 3 * _K)
        for layer, scale in ((self.per_dimension, 0.1), (self.per_context, 0.1), (self.mean, 0.1)):
            nn.init.normal_(layer.weight, std=scale / math.sqrt(width))
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def config(self) -> dict[str, int]:
        """The constructor's arguments."""
        return {"width": self.width, "layers": len(self.layers), "heads": self.heads}

    def condition(self, embedding: UniversalEmbedding) -> ConditionedPredictor:
        """Condition the processes on the trials; candidates may then be predicted in any number of calls."""
        context = embedding.context
        dimensions = context.dimensions
        per_dimension = self.per_dimension(embedding.codes)
        # Lengthscales start near sqrt(d) / 2 (dimension-scaled, Hvarfner et al. 2024, arXiv 2402.02229).
        log_inverse = per_dimension[..., :_K] + (2.0 / dimensions.count.sqrt()).log().unsqueeze(-1)
        inverse = log_inverse.clamp(-6, 3.5).exp() * dimensions.mask.unsqueeze(-1)
        exponents = (1.1 * per_dimension[..., _K:].tanh()).exp()
        per_context = self.per_context(embedding.pooled)
        amplitude, noise, constant, log_prior, emphasis = per_context.split(
            [_K, _K, _K, _K, _FEATURES], dim=-1
        )
        amplitude = amplitude.clamp(-4, 4).exp()
        noise = amplitude * (noise - 4.0).clamp(-9, 1).exp()
        space = KernelSpace(
            inverse.transpose(1, 2),
            (exponents[..., 0].unsqueeze(1), exponents[..., 1].unsqueeze(1)),
            (emphasis - 1.0).clamp(-4, 3).exp().unsqueeze(1),
            constant,
        )
        points, mean, _ = self._points(embedding, space, context.x)
        processes = GaussianProcesses.condition(
            KERNELS, points, embedding.z.unsqueeze(1) - mean, amplitude, noise, context.mask
        )
        log_weights = log_prior + self.evidence_weight.exp() * processes.evidence.float()
        return ConditionedPredictor(embedding, space, processes, log_weights.log_softmax(-1))

    def forward(self, conditioned: ConditionedPredictor, x: Tensor, *, noisy: bool = True) -> GaussianMixture:
        """The distributions of the standardised values of candidates.

        Args:
            x: (B, N, D) in [0, 1].
            noisy: of values as they will be observed; else each process's share of noise is left out, so that
                nothing is to be gained from evaluating a known configuration again.

        Returns:
            Batch shape (B, N).
        """
        return self.jointly(conditioned, x, noisy=noisy)[0]

    def jointly(
        self, conditioned: ConditionedPredictor, x: Tensor, *, noisy: bool = True
    ) -> tuple[GaussianMixture, JointPosterior | NativePosterior]:
        """As `forward`, and the processes' joint posterior of the same candidates."""
        embedding = conditioned.embedding
        points, mean, coordinates = self._points(conditioned.embedding, conditioned.space, x)
        joint = conditioned.processes.joint(points)
        mean, variance = mean + joint.mean.float(), joint.variance.float()
        deviation = (variance + conditioned.processes.noise.float().unsqueeze(-1)).sqrt()
        mean, deviation = mean.transpose(1, 2), deviation.transpose(1, 2)
        log_weights = conditioned.log_weights.unsqueeze(1).expand_as(mean)
        best = embedding.best[:, None, None]
        seen = torch.cat(
            [mean.clamp(-8, 8), deviation.log(), ((mean - best) / deviation).clamp(-6, 6)], dim=-1
        )
        h = coordinates + self.posterior(seen)
        mask = None if bool(embedding.token_mask.all()) else embedding.token_mask
        for layer in self.layers:
            h = layer(h, embedding.tokens, mask)
        weight, shift, spread = self.output(self.output_norm(h)).split(_K, dim=-1)
        mean = mean + shift * deviation
        deviation = deviation * spread.clamp(-3, 3).exp()
        if not noisy:
            share = variance / (variance + conditioned.processes.noise.float().unsqueeze(-1))
            deviation = deviation * share.sqrt().transpose(1, 2)
        return GaussianMixture((log_weights + weight).log_softmax(-1), mean, deviation), joint

    def _points(
        self, embedding: UniversalEmbedding, space: KernelSpace, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Kernel coordinates (B, K, N, D + F), prior means (B, K, N), embedding (B, N, width) of points."""
        dimensions = embedding.context.dimensions
        x = x.float().masked_fill(~dimensions.mask.unsqueeze(1), 0.5)
        a, b = space.warp
        inside = x.clamp(1e-4, 1 - 1e-4)
        warped = 1 - (1 - inside**a) ** b
        coordinates = self.coordinates(x, embedding.codes, dimensions)
        hidden = self.hidden(coordinates + self.hidden_shift(embedding.pooled).unsqueeze(1))
        features = self.features(hidden).tanh() * space.emphasis
        # The first process sees the configuration alone and has a constant mean: a plain one stays in reach.
        deep = torch.tensor([0.0, 1.0, 1.0, 1.0], device=x.device)
        own = warped.unsqueeze(1) * space.inverse_lengthscale.unsqueeze(2)
        learned = features.unsqueeze(1) * deep[None, :, None, None]
        mean = self.mean(hidden).transpose(1, 2) * deep[None, :, None] + space.constant.unsqueeze(-1)
        return torch.cat([own, learned], dim=-1), mean, coordinates
