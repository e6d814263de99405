# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from diffhpo.kernels import ops
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model.network import Network
from diffhpo.model.packed_network import PackedNetwork
from diffhpo.model.reverse_process import ReverseProcess
from diffhpo.model.schedule import NoiseSchedule

#: From a level where the estimate of x_0 amplifies a rounding by 2, not by hundreds as at the noisy end:
#: there rounding errors of few candidates compare by luck.
_STEPS = (300, 200, 120, 60, 20, 0)

MakeProblem = Callable[..., tuple[DenoiseProblem, torch.Tensor]]


@pytest.fixture(params=ops.native_isas(runnable=True))
def isa(request: pytest.FixtureRequest) -> str:
    """Every build of the CPU kernel that this machine runs."""
    return request.param


@pytest.fixture(scope="session")
def make_problem() -> MakeProblem:
    """A problem on a random network, with its packed weights."""

    def make(
        dim: int = 5,
        width: int = 32,
        blocks: int = 2,
        counts: tuple[int, ...] = (7,),
        *,
        steps: int | Sequence[int] = _STEPS,
        method: str = "ddpm",
        guidance: float = 0.0,
        clip: bool = True,
        seeds: tuple[int, ...] | None = None,
        firsts: tuple[int, ...] | None = None,
    ) -> tuple[DenoiseProblem, torch.Tensor]:
        generator = torch.Generator().manual_seed(1000 * dim + 10 * width + blocks)
        network = Network(dim, width=width, blocks=blocks, context_width=8, time_features=8)
        with torch.no_grad():
            for parameter in network.parameters():
                scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        schedule = NoiseSchedule.linear(1000)
        packed = PackedNetwork(network)
        packed.refresh()
        jobs = len(counts)
        contexts = list(torch.randn(jobs, 8, generator=generator))
        flags = [job % 2 for job in range(jobs)]
        seeds = tuple(range(3, 3 + jobs)) if seeds is None else seeds
        firsts = (0,) * jobs if firsts is None else firsts
        problem = packed.problem(
            ReverseProcess.of(schedule, steps, method), flags, contexts, counts, seeds, firsts, guidance, clip
        )
        return problem, packed.weights

    return make
