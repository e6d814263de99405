# SPDX-License-Identifier: Apache-2.0
"""The Transformer and the Predictor of a universal model on a chosen executor."""

from __future__ import annotations

import torch
from torch import Tensor

from diffhpo.kernels import universal
from diffhpo.kernels.executors import choose_executor
from diffhpo.kernels.gaussian_process import log_expected_improvement
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import (
    GaussianProcesses,
    JointPosterior,
    NativePosterior,
)
from diffhpo.model.universal.model import UniversalModel
from diffhpo.model.universal.predictor import KERNELS, ConditionedPredictor, KernelSpace
from diffhpo.model.universal.transformer import UniversalContext, UniversalEmbedding
from diffhpo.model.universal.value_scale import ValueScale


class ExecutedModel:
    """Reads contexts and predicts candidates: as the model's modules, or by native kernels.

    On a native executor a context has the same bits alone or among others, and so has a candidate. Nothing is
    differentiable there. The Gaussian processes are in float64 on every executor.

    Args:
        model: in evaluation, on the CPU; its weights must not change while this object is used.
        executor: "auto", "reference", "cpu", or one build of the CPU kernels.

    Raises:
        InputError: if the executor is unknown.
        BackendError: if it is not there, or a parameter is not finite.

    Example:
        >>> from diffhpo.model.universal import Dimensions
        >>> plain = Dimensions.continuous(1, 3)
        >>> context = UniversalContext(
        ...     torch.rand(1, 6, 3), torch.rand(1, 6), torch.ones(1, 6, dtype=torch.bool), plain)
        >>> executed = ExecutedModel(UniversalModel(width=16), "auto")
        >>> conditioned = executed.condition(executed.embed(context))
        >>> executed.jointly(conditioned, torch.rand(1, 5, 3))[0].means.shape
        torch.Size([1, 5, 4])
    """

    def __init__(self, model: UniversalModel, executor: str = "auto") -> None:
        device = model.transformer.anchor.device
        self.executor = choose_executor(executor, device=device, kernels=("cpu",))
        self._transformer, self._predictor = model.transformer, model.predictor
        if self.executor.name == "reference":
            return
        transformer, predictor = model.packed
        self._transformer_weights, self._transformer_layout = transformer.weights, transformer.layout
        self._predictor_weights, self._predictor_layout = predictor.weights, predictor.layout
        self._evidence_weight = model.predictor.evidence_weight.detach().exp()

    @property
    def native(self) -> bool:
        """Whether native kernels compute."""
        return self.executor.name != "reference"

    def embed(self, context: UniversalContext) -> UniversalEmbedding:
        """As `UniversalTransformer.forward`; natively the tokens of masked trials are 0."""
        if not self.native:
            embedding: UniversalEmbedding = self._transformer(context)
            return embedding
        mask, dimensions = context.mask, context.dimensions
        made = universal.embed(
            context.x.float(),
            context.y.double(),
            mask,
            dimensions.kinds.long(),
            dimensions.roles.long(),
            self._transformer_weights,
            self._transformer_layout,
            isa=self.executor.isa,
        )
        scale = ValueScale(*made.scale.unsqueeze(-1).unbind(0))
        token_mask = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
        return UniversalEmbedding(context, scale, made.z, made.codes, made.tokens, token_mask, made.pooled)

    def condition(self, embedding: UniversalEmbedding) -> ConditionedPredictor:
        """As `UniversalPredictor.condition`."""
        if not self.native:
            return self._predictor.condition(embedding)
        context = embedding.context
        found = universal.kernel_space(
            embedding.codes,
            embedding.pooled,
            context.dimensions.mask,
            self._predictor_weights,
            self._predictor_layout,
            isa=self.executor.isa,
        )
        space = KernelSpace(
            found.inverse_lengthscale, (found.warp_a, found.warp_b), found.emphasis, found.constant
        )
        points, mean, _ = self._points(embedding, space, context.x)
        processes = GaussianProcesses.condition(
            KERNELS,
            points,
            embedding.z.unsqueeze(1) - mean,
            found.amplitude,
            found.noise,
            context.mask,
            self.executor,
        )
        log_weights = found.log_prior + self._evidence_weight * processes.evidence.float()
        return ConditionedPredictor(embedding, space, processes, log_weights.log_softmax(-1))

    def jointly(
        self, conditioned: ConditionedPredictor, x: Tensor, *, noisy: bool = True
    ) -> tuple[GaussianMixture, JointPosterior | NativePosterior]:
        """As `UniversalPredictor.jointly`."""
        if not self.native:
            return self._predictor.jointly(conditioned, x, noisy=noisy)
        embedding = conditioned.embedding
        points, prior_mean, embedded = self._points(embedding, conditioned.space, x)
        joint = conditioned.processes.joint(points)
        mixture = universal.correct(
            embedded,
            prior_mean,
            joint.mean,
            joint.variance,
            conditioned.processes.noise,
            conditioned.log_weights,
            embedding.z,
            embedding.tokens,
            embedding.context.mask,
            self._predictor_weights,
            self._predictor_layout,
            noisy=noisy,
            isa=self.executor.isa,
        )
        return GaussianMixture(*mixture), joint

    def log_improvement(self, mixture: GaussianMixture, best: float) -> Tensor:
        """(N,) log expected improvements over `best` of a (1, N) mixture, in float64 and natively only."""
        log_weights, means, deviations = (
            part[0].double().mT.contiguous()
            for part in (mixture.log_weights, mixture.means, mixture.deviations)
        )
        return log_expected_improvement(log_weights, means, deviations, best, isa=self.executor.isa)

    def _points(
        self, embedding: UniversalEmbedding, space: KernelSpace, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return universal.points(
            x.float(),
            embedding.codes,
            embedding.pooled,
            embedding.context.dimensions.mask,
            (space.inverse_lengthscale, *space.warp, space.emphasis, space.constant),
            self._predictor_weights,
            self._predictor_layout,
            isa=self.executor.isa,
        )
