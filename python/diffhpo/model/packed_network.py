# SPDX-License-Identifier: Apache-2.0
"""A Network in the form that the native reverse loop reads, kept up to date with its parameters."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from diffhpo.errors import BackendError
from diffhpo.kernels import ops
from diffhpo.kernels.problem import DenoiseProblem, NetworkWeights
from diffhpo.model.network import NO_FLAG, Network, ResidualBlock
from diffhpo.model.schedule import ReverseCoefficients


def coefficient_rows(coefficients: ReverseCoefficients) -> Tensor:
    """(S, 5) float64: x0_from_x, x0_from_eps, x0_weight, x_weight, sigma."""
    c = coefficients
    return torch.stack([c.x0_from_x, c.x0_from_eps, c.x0_weight, c.x_weight, c.sigma], dim=1)


def step_keys(coefficients: ReverseCoefficients, levels: int) -> Tensor:
    """(S + 1,) int64 keys of the noise: `levels` for the initial x_T, then the timesteps left."""
    return torch.cat([torch.tensor([levels]), coefficients.timesteps])


class PackedNetwork:
    """Weights packed once, and the conditioning of the last list of steps; both follow the parameters.

    The conditioning is computed in float64 and rounded once, so that it does not depend on how many jobs or
    torch threads there are.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._snapshot: list[Tensor] = []
        self._exact: Network = network
        self._unpacked: NetworkWeights | None = None
        self._weights: Tensor | None = None
        self._step_key: tuple[int, ...] = ()
        self._step_conditioning: Tensor | None = None

    def refresh(self) -> None:
        """Take over the parameters if any of them changed since the last call.

        Values are compared, not version counters: an update through `.data` leaves those as they were.

        Raises:
            BackendError: if a parameter is not finite; the message names it.
        """
        parameters = dict(self._network.named_parameters())
        if len(parameters) == len(self._snapshot) and all(
            new.device == old.device and new.dtype == old.dtype and torch.equal(new, old)
            for new, old in zip(parameters.values(), self._snapshot, strict=True)
        ):
            return
        for name, parameter in parameters.items():
            if not bool(torch.isfinite(parameter).all()):
                raise BackendError(
                    f"network parameter {name} holds nan or inf; nothing was sampled: restore a checkpoint "
                    "from before the training diverged, or lower the learning rate"
                )
        self._snapshot = [parameter.detach().clone() for parameter in parameters.values()]
        self._exact = copy.deepcopy(self._network).double()
        self._unpacked = self._weights = self._step_conditioning = None

    @property
    def unpacked(self) -> NetworkWeights:
        """The float32 matrices of the residual MLP."""
        if self._unpacked is None:
            network = self._network

            def single(parameter: Tensor) -> Tensor:
                return parameter.detach().float().contiguous()

            self._unpacked = NetworkWeights(
                input_weight=single(network.input.weight),
                input_bias=single(network.input.bias),
                expand_weights=tuple(single(block.expand.weight) for block in _blocks(network)),
                contract_weights=tuple(single(block.contract.weight) for block in _blocks(network)),
                contract_biases=tuple(single(block.contract.bias) for block in _blocks(network)),
                output_weight=single(network.output.weight),
                output_bias=single(network.output.bias),
            )
        return self._unpacked

    @property
    def weights(self) -> Tensor:
        """The same, packed for the kernels."""
        if self._weights is None:
            self._weights = ops.pack(self.unpacked)
        return self._weights

    def _conditioning_of_steps(self, timesteps: Tensor) -> Tensor:
        key = tuple(timesteps.tolist())
        if self._step_conditioning is None or key != self._step_key:
            exact = self._exact
            bias = torch.stack([block.expand.bias for block in _blocks(exact)])
            conditioning = exact.time_conditioning(timesteps.to(bias.device)) + bias
            self._step_conditioning, self._step_key = conditioning.detach().float().contiguous(), key
        return self._step_conditioning

    def problem(
        self,
        coefficients: ReverseCoefficients,
        levels: int,
        flags: Sequence[int],
        contexts: Sequence[Tensor | None],
        counts: Sequence[int],
        seeds: Sequence[int],
        first_candidates: Sequence[int],
        guidance: float,
        clip: bool,
    ) -> DenoiseProblem:
        """The inputs of one native call, on the network's device. Call `refresh` before."""
        exact = self._exact
        device = exact.input.weight.device
        branches = [(flag, NO_FLAG) if guidance else (flag,) for flag in flags]
        jobs = []
        for row, context in zip(branches, contexts, strict=True):
            pooled = None if context is None else context.detach().to(device).double().expand(len(row), -1)
            jobs.append(exact.run_conditioning(torch.tensor(row, device=device), pooled).detach().float())
        shape = (0, 2 if guidance else 1, len(exact.blocks), 2 * exact.width)
        return DenoiseProblem(
            weights=self.unpacked,
            step_conditioning=self._conditioning_of_steps(coefficients.timesteps),
            job_conditioning=torch.stack(jobs) if jobs else torch.zeros(shape, device=device),
            coefficients=coefficient_rows(coefficients).to(device),
            keys=step_keys(coefficients, levels).to(device),
            counts=torch.tensor(counts, dtype=torch.int64),
            seeds=torch.tensor(seeds, dtype=torch.int64),
            first_candidates=torch.tensor(first_candidates, dtype=torch.int64),
            guidance=guidance,
            clip=clip,
        )


def _blocks(network: Network) -> list[ResidualBlock]:
    """The blocks with their type, which torch.nn.ModuleList does not carry."""
    return [cast(ResidualBlock, block) for block in network.blocks]
