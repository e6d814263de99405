# SPDX-License-Identifier: Apache-2.0
"""A Network in the form that the native reverse loop reads, kept up to date with its parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from diffhpo.kernels import ops
from diffhpo.kernels.problem import DenoiseProblem, NetworkWeights
from diffhpo.model.followed_parameters import FollowedParameters
from diffhpo.model.network import NO_FLAG, CrossAttention, Network, ResidualBlock
from diffhpo.model.reverse_process import ReverseProcess


class PackedNetwork:
    """Weights packed once, and the conditioning of the last list of steps; both follow the parameters.

    The conditioning and the keys and values of tokens are computed in float64 and rounded once, so that they
    do not depend on how many jobs or torch threads there are.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._parameters = FollowedParameters(network, "network")
        self._exact: Network = network
        self._unpacked: NetworkWeights | None = None
        self._weights: Tensor | None = None
        self._coded: dict[str, Tensor] = {}
        self._step_conditioning: Tensor | None = None
        self._conditioned: ReverseProcess | None = None
        self._token_projection: Tensor | None = None

    def refresh(self) -> None:
        """Take over the parameters if any of them changed since the last call.

        Raises:
            BackendError: if a parameter is not finite; the message names it.
        """
        self._parameters.take_over(self._forget)

    def _forget(self) -> None:
        if self._exact is self._network:
            self._exact = copy.deepcopy(self._network).double()
        else:  # a copy of the module costs more than a short reverse loop
            pairs = zip(self._exact.parameters(), self._network.parameters(), strict=True)
            with torch.no_grad():
                for exact, own in pairs:
                    exact.copy_(own)
        self._unpacked = self._weights = self._step_conditioning = None
        self._token_projection = None
        self._coded = {}

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

    def coded(self, precision: str) -> Tensor | None:
        """The weights at "bf16" or "int8", for the kernels of their device; None at "fp32"."""
        if precision == "fp32":
            return None
        if precision not in self._coded:
            network = self._network
            sizes = (network.dim, network.width, len(network.blocks))
            self._coded[precision] = ops.encode(self.weights, *sizes, precision)
        return self._coded[precision]

    def _conditioning_of(self, process: ReverseProcess) -> Tensor:
        if self._step_conditioning is None or process is not self._conditioned:
            exact = self._exact
            bias = torch.stack([block.expand.bias for block in _blocks(exact)])
            conditioning = exact.time_conditioning(process.timesteps.to(bias.device)) + bias
            self._step_conditioning, self._conditioned = conditioning.detach().float().contiguous(), process
        return self._step_conditioning

    def _keys_and_values(self, tokens: Tensor) -> Tensor:
        """(M, context_width) -> (M, B, 2, W), query and output matrices folded in; scores are to base 2.

        With the row vectors h and c of the formula in `CrossAttention`, (Wq h)(Wk c) = h (c Wk^T Wq)^T and
        Wo (Wv c) = c Wv^T Wo^T.
        """
        exact = self._exact
        if self._token_projection is None:
            scale = math.log2(math.e) / math.sqrt(exact.width)
            columns = []
            for attention in _attentions(exact):
                columns.append(attention.key.weight.T @ attention.query.weight * scale)
                columns.append(attention.value.weight.T @ attention.output.weight.T)
            self._token_projection = torch.cat(columns, dim=1).detach()
        projected = tokens.detach().to(self._token_projection) @ self._token_projection
        return projected.float().unflatten(-1, (len(exact.blocks), 2, exact.width))

    def problem(
        self,
        process: ReverseProcess,
        flags: Sequence[int],
        contexts: Sequence[Tensor | None],
        counts: Sequence[int],
        seeds: Sequence[int],
        first_candidates: Sequence[int],
        guidance: float,
        clip: bool,
        tokens: Sequence[Tensor | None] = (),
    ) -> DenoiseProblem:
        """The inputs of one native call, on the network's device. Call `refresh` before.

        `tokens` are those of every job, (M, context_width) each, for cross-attention; none where left out.
        """
        exact = self._exact
        device = exact.input.weight.device
        branches = [[flag, NO_FLAG] if guidance else [flag] for flag in flags]
        flag_rows, projection = exact.flag.weight.detach(), exact.context
        jobs = []
        for row, context in zip(branches, contexts, strict=True):
            conditioning = flag_rows[row, :]
            if projection is not None and context is not None:
                conditioning = (
                    conditioning + projection.weight.detach() @ context.detach().to(device).double()
                )
            jobs.append(conditioning.float().unflatten(-1, (len(exact.blocks), -1)))
        attended = self._network.cross_attention and any(one is not None and len(one) for one in tokens)
        given = [
            exact.flag.weight.new_zeros(0, exact.context_width) if one is None else one for one in tokens
        ]
        shape = (0, 2 if guidance else 1, len(exact.blocks), 2 * exact.width)
        return DenoiseProblem(
            weights=self.unpacked,
            step_conditioning=self._conditioning_of(process),
            job_conditioning=torch.stack(jobs) if jobs else torch.zeros(shape, device=device),
            coefficients=process.coefficients.to(device),
            keys=process.keys.to(device),
            counts=torch.tensor(counts, dtype=torch.int64),
            seeds=torch.tensor(seeds, dtype=torch.int64),
            first_candidates=torch.tensor(first_candidates, dtype=torch.int64),
            guidance=guidance,
            clip=clip,
            tokens=torch.cat([self._keys_and_values(one) for one in given]) if attended else None,
            token_counts=torch.tensor([len(one) for one in given]) if attended else None,
        )


def _blocks(network: Network) -> list[ResidualBlock]:
    """The blocks with their type, which torch.nn.ModuleList does not carry."""
    return [cast(ResidualBlock, block) for block in network.blocks]


def _attentions(network: Network) -> list[CrossAttention]:
    return [cast(CrossAttention, attention) for attention in network.attention]
