# SPDX-License-Identifier: Apache-2.0
"""The universal model applied to one run: trials in, predictions and generated configurations out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.universal.belief import Belief, NativeBelief, belief_of
from diffhpo.model.universal.dimensions import MAX_DIM, Dimensions
from diffhpo.model.universal.executed_model import ExecutedModel
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.model import UniversalModel
from diffhpo.model.universal.network import wish
from diffhpo.model.universal.transformer import UniversalContext, UniversalEmbedding
from diffhpo.model.universal.value_scale import ValueScale


@dataclass(frozen=True)
class PredictedValues:
    """Distributions of the values of N configurations, in the units of the trials."""

    mixture: GaussianMixture
    """(1, N) of the standardised values."""
    scale: ValueScale

    def log_prob(self, y: Tensor) -> Tensor:
        """(N,) log densities at (N,) values."""
        y = y.double().unsqueeze(0)
        density = self.mixture.double().log_prob(self.scale.standardise(y)) + self.scale.log_slope(y)
        return density.squeeze(0)

    def cdf(self, y: Tensor) -> Tensor:
        """(N,) probabilities of at most (N,) values."""
        z = self.scale.standardise(y.double().unsqueeze(0))
        return self.mixture.double().cdf(z).squeeze(0)

    @property
    def median(self) -> Tensor:
        """(N,) values that are exceeded with probability one half."""
        return self.quantile(0.5)

    def quantile(self, level: float) -> Tensor:
        """(N,) values that are not exceeded with probability `level`, by bisection.

        Raises:
            InputError: unless `level` lies between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"level is {level}; a probability between 0 and 1 is needed")
        mixture = self.mixture.double()
        low = (mixture.means - 8 * mixture.deviations).amin(-1)
        high = (mixture.means + 8 * mixture.deviations).amax(-1)
        for _ in range(60):
            middle = (low + high) / 2
            below = mixture.cdf(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self.scale.restore((low + high) / 2).squeeze(0)


class Generators:
    """Denoisers of a model by dimension, kept because making one takes longer than a short reverse loop."""

    def __init__(self, model: UniversalModel) -> None:
        self._network = model.network
        self._made: dict[int, Denoiser] = {}

    def written_for(self, embedding: UniversalEmbedding) -> Denoiser:
        """The Denoiser for one context, until the next call."""
        dim = embedding.codes.shape[1]
        if dim not in self._made:
            self._made[dim] = Denoiser(self._network.unwritten(dim))
        self._network.write(self._made[dim].network, embedding)
        return self._made[dim]


class InContextModel:
    """A universal model that has read the trials of one run.

    Args:
        model: in evaluation; its weights must not change while this object is used.
        x: (n, d) configurations in [0, 1], n may be 0, d at most 32.
        y: (n,) finite values, larger is better.
        kinds: (d,) see `Dimensions`; all continuous where it is left out.
        roles: (d,) see `diffhpo.parameter_roles`; unknown where it is left out.
        generators: of the same model, kept by a caller that reads many runs.
        executor: of the reading and of predictions: "auto", "reference", "cpu", or one build of the CPU
            kernels. What is differentiated runs in torch on every executor.

    Raises:
        InputError: if shapes do not fit, there are more than 32 dimensions, or the executor is unknown.
        BackendError: if the executor is not there, or natively a parameter is not finite.

    Example:
        >>> run = InContextModel(UniversalModel(width=16), torch.rand(5, 3), torch.rand(5))
        >>> run.predict(torch.rand(7, 3)).median.shape, run.generate(4, seed=0).shape
        (torch.Size([7]), torch.Size([4, 3]))
    """

    @torch.no_grad()
    def __init__(
        self,
        model: UniversalModel,
        x: Tensor,
        y: Tensor,
        *,
        kinds: Tensor | None = None,
        roles: Tensor | None = None,
        generators: Generators | None = None,
        executor: str = "auto",
    ) -> None:
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise InputError(f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}; (n, d) and (n,) are needed")
        dim = x.shape[1]
        if not 1 <= dim <= MAX_DIM:
            raise InputError(f"x has {dim} dimensions; the universal model takes 1 to {MAX_DIM}")
        plain = Dimensions.continuous(1, dim)
        dimensions = Dimensions(
            plain.kinds if kinds is None else kinds.view(1, dim),
            plain.roles if roles is None else roles.view(1, dim),
        )
        self.model, self.dim = model, dim
        mask = torch.ones(1, len(y), dtype=torch.bool)
        context = UniversalContext(x.float().unsqueeze(0), y.double().unsqueeze(0), mask, dimensions)
        self.executed = ExecutedModel(model, executor)
        self.embedding = self.executed.embed(context)
        self.conditioned = self.executed.condition(self.embedding)
        self._generators = Generators(model) if generators is None else generators

    @property
    def best(self) -> Tensor:
        """(1, 1) the best standardised value so far."""
        best: Tensor = self.embedding.best.unsqueeze(1)
        return best

    def mixture(self, x: Tensor, *, noisy: bool = True) -> GaussianMixture:
        """Distributions (1, N) of the standardised values of (N, d) configurations; differentiable in x.

        Args:
            noisy: as observed; else without the noise.
        """
        differentiated = x.requires_grad and torch.is_grad_enabled()
        predictor = self.model.predictor if differentiated else self.executed
        return predictor.jointly(self.conditioned, x.float().unsqueeze(0), noisy=noisy)[0]

    @torch.no_grad()
    def predict(self, x: Tensor) -> PredictedValues:
        """Distributions of the values of (N, d) configurations."""
        return PredictedValues(self.mixture(x), self.embedding.scale)

    def log_improvement(self, x: Tensor, *, noisy: bool = True) -> Tensor:
        """(N,) float64 log expected improvement over the best value so far, in standardised units.

        Args:
            noisy: count what the processes take for noise. On a deterministic objective that is what they
                cannot explain, and an improvement may come of it.
        """
        mixture = self.mixture(x, noisy=noisy)
        if self.executed.native and not mixture.means.requires_grad:
            return self.executed.log_improvement(mixture, float(self.best))
        return mixture.log_expected_improvement(self.best).squeeze(0).double()

    @torch.no_grad()
    def generate(
        self,
        count: int,
        *,
        seed: int,
        improvement: float | None = None,
        steps: int = 20,
        guidance: float = 0.0,
        executor: str = "auto",
        precision: str = "fp32",
        first_candidate: int = 0,
        stop_after: int | None = None,
    ) -> Tensor:
        """Configurations (count, d) drawn by the Denoiser with I = 1.

        Args:
            count: how many.
            seed: of the draw.
            improvement: how much better than the best so far, in standardised units; None asks for the best
                configuration of all, so that samples follow the model's posterior of the optimum.
            steps, guidance, executor, precision, first_candidate, stop_after: as `Denoiser.sample`.
        """
        denoiser = self._generators.written_for(self.embedding)
        size = None if improvement is None else torch.tensor([improvement])
        pooled = self.model.network.pooled(self.embedding, wish(size, 1, optimum=improvement is None))
        return denoiser.sample(
            pooled[0],
            count,
            improve=True,
            steps=steps,
            seed=seed,
            guidance=guidance,
            executor=executor,
            precision=precision,
            first_candidate=first_candidate,
            stop_after=stop_after,
        )

    @torch.no_grad()
    def belief(self, x: Tensor, *, noisy: bool = True) -> Belief | NativeBelief:
        """The joint prediction of (N, d) configurations, to be conditioned on some of them."""
        predicted = self.executed.jointly(self.conditioned, x.float().unsqueeze(0), noisy=noisy)
        return belief_of(*predicted, self.best, noisy=noisy)
