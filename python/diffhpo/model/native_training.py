# SPDX-License-Identifier: Apache-2.0
"""Trainer's steps in native calls: which models that covers, and parameters and moments there and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffhpo.kernels import training
from diffhpo.kernels.training_problem import TrainingProblem, TrainingShape, TrainingState
from diffhpo.model.loss import Loss
from diffhpo.model.network import Network, sinusoidal_features
from diffhpo.model.sampler import Sampler
from diffhpo.model.transformer import Transformer

#: Largest of any size that the kernel takes, as csrc/bindings/bind_training.cpp has it.
LARGEST_SIZE = 4096


def training_shape(network: Network, transformer: Transformer) -> TrainingShape:
    """The sizes of a pair as the kernel takes them."""
    return TrainingShape(
        network.dim,
        network.width,
        len(network.blocks),
        network.context_width,
        network.time_features,
        len(transformer.layers),
        transformer.heads,
    )


def not_covered(network: Network, transformer: Transformer) -> str | None:
    """Why the native training step does not cover a pair of models, or None if it does.

    It covers every Network without cross-attention with its Transformer, of any sizes up to 4096, whose
    parameters are all float32, on the CPU and trainable. Subclasses may compute something else, so they are
    not covered.

    Example:
        >>> not_covered(Network(2, context_width=8), Transformer(2, width=8))
        >>> not_covered(Network(2, context_width=8, cross_attention=True), Transformer(2, width=8))
        'the network has cross-attention'
    """
    if type(network) is not Network or type(transformer) is not Transformer:
        return "the models are not exactly a Network and a Transformer"
    if network.cross_attention:
        return "the network has cross-attention"
    if network.dim != transformer.dim or network.context is None:
        return "network and transformer do not fit together"
    shape = training_shape(network, transformer)
    if max(shape.sizes) > LARGEST_SIZE:
        return f"a size is beyond {LARGEST_SIZE}"
    for part, module in (("network", network), ("transformer", transformer)):
        for name, parameter in module.named_parameters():
            at = f"{part}.{name}"
            if parameter.device.type != "cpu":
                return f"{at} is on {parameter.device}"
            if parameter.dtype != torch.float32:
                return f"{at} is {parameter.dtype}"
            if not parameter.requires_grad:
                return f"{at} is frozen"
    return None


class NativeTraining:
    """A Loss and its optimiser as the kernel takes them; the moments stay those of the torch optimiser."""

    def __init__(self, loss: Loss, optimizer: torch.optim.Adam) -> None:
        self.adder = loss.noise_adder
        self.shape = training_shape(loss.network, loss.transformer)
        named = dict(loss.named_parameters())
        self._parameters = [named[name] for name in self.shape.parameters]
        self._optimizer = optimizer
        timesteps = torch.arange(len(loss.noise_adder.schedule))
        self.features = sinusoidal_features(timesteps, self.shape.time_features).float()

    @property
    def learning_rate(self) -> float:
        """The optimiser's."""
        return float(self._optimizer.param_groups[0]["lr"])

    def gather(self, first: int) -> TrainingState:
        """A copy of parameters and moments, whose next step is number `first`."""
        parameters, moments = _flat(self._parameters), self._moments()
        return TrainingState(
            parameters,
            _flat([of["exp_avg"] for of in moments]),
            _flat([of["exp_avg_sq"] for of in moments]),
            torch.tensor([first]),
        )

    @torch.no_grad()
    def scatter(self, trained: TrainingState) -> None:
        """Take parameters and moments back."""
        moments = self._moments()
        targets: list[tuple[list[Tensor], Tensor]] = [
            ([*self._parameters], trained.parameters),
            ([of["exp_avg"] for of in moments], trained.exp_avg),
            ([of["exp_avg_sq"] for of in moments], trained.exp_avg_sq),
        ]
        for target, flat in targets:
            parts = flat[0].split([tensor.numel() for tensor in target])
            torch._foreach_copy_(target, [part.view_as(t) for t, part in zip(target, parts, strict=True)])
        for of in moments:
            of["step"].fill_(float(trained.steps[0]))

    def _moments(self) -> list[dict[str, Tensor]]:
        """The optimiser's state of every parameter; zeros at the start, as it makes them itself."""
        state = self._optimizer.state
        if len(state) < len(self._parameters):
            for parameter in self._parameters:
                state.setdefault(
                    parameter,
                    {
                        "step": torch.zeros((), dtype=torch.float32),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    },
                )
        return [state[parameter] for parameter in self._parameters]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """(1, P), a copy."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).unsqueeze(0)


@dataclass(frozen=True)
class Run:
    """What one task trains, from where and on what."""

    model: NativeTraining
    sampler: Sampler
    seed: int
    first: int
    """Number of its next step."""


def take_steps(
    runs: Sequence[Run], steps: int, *, batch: int, isa: str, threads: int = 1
) -> tuple[list[list[float]], BaseException | None]:
    """Take `steps` steps of every run; what they have in common is taken from the first.

    Returns:
        Each run's losses of the steps that it did, and what interrupted the others, for the caller to raise.
        Models and moments are those after each run's last whole step.
    """
    common, rule = runs[0].model, runs[0].sampler.rule
    problem = TrainingProblem(
        common.shape,
        tuple(run.sampler.table for run in runs),
        tuple(run.seed for run in runs),
        rule,
        batch,
        common.learning_rate,
        common.adder.signal,
        common.adder.noise,
        common.features,
    )
    parts = [run.model.gather(run.first) for run in runs]
    state = parts[0]
    if len(parts) > 1:
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        state = TrainingState(*(torch.cat(column) for column in columns))
    losses = torch.zeros(len(runs), steps, dtype=torch.float64)
    interrupt: BaseException | None = None
    try:
        training.train(problem, state, losses, isa=isa, threads=threads)
    except KeyboardInterrupt as error:
        interrupt = error
    taken = []
    for index, run in enumerate(runs):
        done = int(state.steps[index]) - run.first
        if done:
            run.model.scatter(TrainingState(*(part[index : index + 1] for part in vars(state).values())))
        taken.append(losses[index, :done].tolist())
    return taken, interrupt
