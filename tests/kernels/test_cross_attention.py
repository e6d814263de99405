# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.kernels.problem_variants import reordered
from torch import Tensor

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import ops, reference
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import ContextEmbedding

_CONTEXT_WIDTH = 8
_TOKENS = (0, 1, 2, 31, 97, 160, 161, 1024)
_STEPS = (300, 120, 20, 0)


def with_tokens(problem: DenoiseProblem, counts: tuple[int, ...], scale: float = 1.0) -> DenoiseProblem:
    """Keys such that scores vary by about `scale` between tokens."""
    _, blocks, wide = problem.step_conditioning.shape
    width = wide // 2
    generator = torch.Generator().manual_seed(sum(counts))
    tokens = torch.randn(sum(counts), blocks, 2, width, generator=generator)
    tokens[:, :, 0] *= scale / width**0.5
    return replace(problem, tokens=tokens, token_counts=torch.tensor(counts))


def assert_as_exact_as_torch(problem: DenoiseProblem, packed: Tensor, isa: str) -> None:
    """Mean error against float64 at most two and a half times that of torch's float32, which differs with the
    processor's BLAS; few candidates are repeated."""
    exact, ours, torchs = [], [], []
    for repeat in range(-(-96 // int(problem.counts.sum()))):
        again = replace(problem, first_candidates=problem.first_candidates + repeat * 1000)
        exact.append(reference.denoise(again, torch.float64))
        ours.append(ops.denoise(again, packed, isa=isa))
        torchs.append(reference.denoise(again, torch.float32))

    def rounding(results: list[Tensor]) -> float:
        return float((torch.cat(results).double() - torch.cat(exact)).abs().mean())

    assert rounding(ours) <= 2.5 * rounding(torchs) + 1e-8


@pytest.mark.parametrize("tokens", _TOKENS)
@pytest.mark.parametrize("width", [32, 40, 64])
def test_every_number_of_tokens_matches_float64(make_problem, isa: str, width: int, tokens: int) -> None:
    problem, packed = make_problem(5, width, 2, (31,), steps=_STEPS)
    without = ops.denoise(problem, packed, isa=isa)
    problem = with_tokens(problem, (tokens,))
    assert_as_exact_as_torch(problem, packed, isa)
    assert torch.equal(ops.denoise(problem, packed, isa=isa), without) == (tokens == 0)


@pytest.mark.parametrize("rows", [1, 12, 31, 97])
@pytest.mark.parametrize("width", [7, 20, 64])
def test_every_number_of_rows_matches_float64(make_problem, isa: str, width: int, rows: int) -> None:
    problem, packed = make_problem(5, width, 2, (rows,), steps=_STEPS)
    assert_as_exact_as_torch(with_tokens(problem, (33,)), packed, isa)


@pytest.mark.parametrize("scale", [30.0, 1000.0])
def test_peaked_weights_match_float64(make_problem, isa: str, scale: float) -> None:
    """Scores far beyond the range of 2^score: rows that take the running maximum."""
    problem, packed = make_problem(5, 32, 1, (40,), steps=(60, 20, 0))
    assert_as_exact_as_torch(with_tokens(problem, (300,), scale), packed, isa)


@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_jobs_of_different_tokens_match_float64(make_problem, isa: str, guidance: float) -> None:
    problem, packed = make_problem(5, 40, 2, (13, 1, 0, 24, 5), guidance=guidance)
    assert_as_exact_as_torch(with_tokens(problem, (2, 170, 9, 0, 31)), packed, isa)


@pytest.mark.parametrize("tokens", [3, 300])
def test_bits_do_not_depend_on_split_threads_or_order(make_problem, isa: str, tokens: int) -> None:
    counts, of_jobs = (120, 0, 7), (tokens, 4, 0)
    problem, packed = make_problem(5, 40, 2, counts, steps=_STEPS, guidance=0.5, seeds=(1, 2, 3))
    problem = with_tokens(problem, of_jobs, 8.0)
    whole = ops.denoise(problem, packed, isa=isa)
    for threads in (2, 7):
        assert torch.equal(ops.denoise(problem, packed, isa=isa, threads=threads), whole)
    parts = problem.tokens.split(of_jobs)
    for order in ([2, 1, 0], [0], [0, 2, 0]):
        chosen = replace(
            reordered(problem, order),
            tokens=torch.cat([parts[job] for job in order]),
            token_counts=problem.token_counts[order],
        )
        expected = torch.cat([whole.split(counts)[job] for job in order])
        assert torch.equal(ops.denoise(chosen, packed, isa=isa), expected)
    for start, stop in pairwise([0, 1, 3, 6, 10, 23, 40, 120]):
        chosen = replace(
            problem,
            counts=torch.tensor([stop - start, 0, 0]),
            first_candidates=torch.tensor([start, 0, 0]),
        )
        assert torch.equal(ops.denoise(chosen, packed, isa=isa), whole[start:stop])


def test_tokens_that_are_not_finite_end_the_sample(make_problem, isa: str) -> None:
    problem, packed = make_problem(5, 32, 2, (20,))
    for part in (0, 1):
        for value in (float("nan"), float("inf")):
            broken = with_tokens(problem, (40,))
            broken.tokens[17, 1, part, 3] = value
            with pytest.raises(BackendError, match="stopped being finite at step 0"):
                ops.denoise(broken, packed, isa=isa)


_DAMAGE: dict[str, Callable[[Tensor, Tensor], tuple[object, object]]] = {
    "no counts": lambda tokens, counts: (tokens, None),
    "no tokens": lambda tokens, counts: (None, counts),
    "double": lambda tokens, counts: (tokens.double(), counts),
    "int32": lambda tokens, counts: (tokens, counts.int()),
    "rank": lambda tokens, counts: (tokens.flatten(1), counts),
    "blocks": lambda tokens, counts: (tokens[:, :1], counts),
    "keys alone": lambda tokens, counts: (tokens[:, :, :1], counts),
    "width": lambda tokens, counts: (tokens[..., :-1], counts),
    "a token less": lambda tokens, counts: (tokens[1:], counts),
    "a token more": lambda tokens, counts: (torch.cat([tokens, tokens[:1]]), counts),
    "a job less": lambda tokens, counts: (tokens, counts[:1]),
    "negative": lambda tokens, counts: (tokens, torch.tensor([-1, 8])),
    "overflow": lambda tokens, counts: (tokens, torch.tensor([2**63 - 1, 8])),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_wrong_tokens_are_input_errors(make_problem, damage: str) -> None:
    problem, packed = make_problem(5, 32, 2, (2, 3))
    problem = with_tokens(problem, (3, 4))
    tokens, counts = _DAMAGE[damage](problem.tokens, problem.token_counts)
    with pytest.raises(InputError, match="token"):
        ops.denoise(replace(problem, tokens=tokens, token_counts=counts), packed)


def test_other_precisions_refuse_tokens(make_problem) -> None:
    problem, packed = make_problem(5, 32, 2, (2,))
    problem = with_tokens(problem, (3,))
    isa = ops.native_isas(runnable=True)[-1]
    for precision in ops.precisions(isa)[1:]:
        coded = ops.encode(packed, 5, 32, 2, precision)
        with pytest.raises(InputError, match="fp32"):
            ops.denoise(problem, packed, isa=isa, precision=precision, coded=coded)


@pytest.mark.filterwarnings("ignore")  # torch's own deprecations while it traces
def test_opcheck_passes_with_tokens(make_problem) -> None:
    problem, packed = make_problem(5, 32, 2, (3, 4))
    problem = with_tokens(problem, (2, 0))
    jobs = (problem.counts, problem.seeds, problem.first_candidates)
    inputs = (packed, problem.step_conditioning, problem.job_conditioning, problem.coefficients, problem.keys)
    options = (7, 5, 0.0, True, "portable", 1, "fp32", torch.empty(0, dtype=torch.uint8))
    arguments = (*inputs, *jobs, *options, problem.tokens, problem.token_counts)
    torch.library.opcheck(torch.ops.diffhpo.denoise.default, arguments)


@torch.no_grad()
def attentive_network(width: int) -> Network:
    generator = torch.Generator().manual_seed(width)
    network = Network(5, width=width, context_width=_CONTEXT_WIDTH, time_features=8, cross_attention=True)
    for parameter in network.parameters():
        scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
        parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("width", [32, 40, 64])
@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_samples_are_as_exact_as_those_of_the_module(isa: str, width: int, guidance: float) -> None:
    """From contexts to configurations, against the Network itself in float64: folding included."""
    network, schedule = attentive_network(width), NoiseSchedule.linear(1000)
    generator = torch.Generator().manual_seed(0)
    contexts: list[Tensor | ContextEmbedding | None] = [
        ContextEmbedding(
            pooled=torch.randn(1, _CONTEXT_WIDTH, generator=generator),
            tokens=2 * torch.randn(1, count, _CONTEXT_WIDTH, generator=generator),
            mask=torch.rand(1, count, generator=generator) < 0.8,
        )
        for count in (16, 200)
    ]
    contexts += [torch.randn(9, _CONTEXT_WIDTH, generator=generator), None]

    def sample(of: Network, executor: str) -> Tensor:
        drawn = Denoiser(of, schedule).sample_jobs(
            contexts, [40, 33, 12, 5], seeds=[1, 2, 3, 4], steps=_STEPS, executor=executor, guidance=guidance
        )
        return torch.cat(drawn).double()

    exact = sample(copy.deepcopy(network).double(), "reference")
    torchs = (sample(network, "reference") - exact).abs().mean()
    ours = (sample(network, f"cpu-{isa}") - exact).abs().mean()
    assert float(ours) <= 2 * float(torchs) + 1e-8


def test_training_between_samples_is_seen(isa: str) -> None:
    network = attentive_network(32)
    tokens = torch.randn(6, _CONTEXT_WIDTH, generator=torch.Generator().manual_seed(0))
    denoiser = Denoiser(network, NoiseSchedule.linear(10))
    for index, name in enumerate(("query", "key", "value", "output")):
        before = denoiser.sample(tokens, 5, steps=10, executor=f"cpu-{isa}")
        with torch.no_grad():
            getattr(network.attention[index % 2], name).weight.mul_(1.5)
        after = denoiser.sample(tokens, 5, steps=10, executor=f"cpu-{isa}")
        assert not torch.equal(after, before)
        fresh = Denoiser(network, denoiser.schedule)
        assert torch.equal(fresh.sample(tokens, 5, steps=10, executor=f"cpu-{isa}"), after)


def test_embedded_tokens_of_a_wrong_kind_are_refused() -> None:
    denoiser = Denoiser(attentive_network(32), NoiseSchedule.linear(10))
    good = torch.zeros(1, 3, _CONTEXT_WIDTH)
    for tokens in (good[..., :-1], good / 0):
        context = ContextEmbedding(pooled=good[:, 0], tokens=tokens, mask=torch.ones(1, 3, dtype=torch.bool))
        with pytest.raises(InputError, match="context"):
            denoiser.sample(context, 2, steps=10, executor="cpu")
