# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from diffhpo.kernels import ops, reference
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


def _rounded(x: torch.Tensor) -> torch.Tensor:
    return x.bfloat16().to(x.dtype)


def _bf16_model(problem: DenoiseProblem) -> torch.Tensor:
    """The loop in float64; weights and what enters a product rounded to bf16, as the CUDA kernel does."""
    w = problem.weights
    rows = torch.repeat_interleave(torch.arange(len(problem.counts)), problem.counts)
    starts = torch.cumsum(problem.counts, 0) - problem.counts
    candidates = torch.arange(len(rows)) - starts[rows] + problem.first_candidates[rows]
    conditioning = problem.job_conditioning[rows].double()

    def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return _rounded(x) @ _rounded(weight).double().T

    def branch(x: torch.Tensor, step: int, at: int) -> torch.Tensor:
        shift = problem.step_conditioning[step].double() + conditioning[:, at]
        h = linear(x, w.input_weight) + w.input_bias.double()
        for b, expand in enumerate(w.expand_weights):
            hidden = torch.nn.functional.silu(linear(h, expand) + shift[:, b])
            h = h + w.contract_biases[b].double() + linear(hidden, w.contract_weights[b])
        return linear(h, w.output_weight) + w.output_bias.double()

    def predict(x: torch.Tensor, step: int) -> torch.Tensor:
        eps = branch(x, step, 0)
        if conditioning.shape[1] == 2:
            eps = eps * (1.0 + problem.guidance) - branch(x, step, 1) * problem.guidance
        return eps

    dim = w.input_weight.shape[1]
    return reference.reverse_loop(
        predict, problem.coefficients, problem.keys, problem.seeds[rows], candidates, dim, clip=problem.clip
    )


@pytest.fixture(scope="session")
def bf16_model() -> Callable[[DenoiseProblem], torch.Tensor]:
    """problem -> x at CUDA's precision "bf16", but for fp32 sums and an approximate tanh."""
    return _bf16_model
