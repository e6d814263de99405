# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from diffhpo.errors import BackendError
from diffhpo.kernels import executors, ops, reference
from diffhpo.kernels.problem import DenoiseProblem

_MISSING = executors.unavailable().get("cuda")
pytestmark = pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))


def on_device(problem: DenoiseProblem) -> DenoiseProblem:
    moved = ("step_conditioning", "job_conditioning", "coefficients", "keys")
    names = [field.name for field in fields(problem) if field.name in moved]
    return replace(problem, **{name: getattr(problem, name).cuda() for name in names})


@pytest.mark.parametrize("n", [0, 1, 2, 31, 64, 97, 1025])
@pytest.mark.parametrize(("dim", "width", "blocks"), [(16, 64, 2), (13, 128, 4), (1, 32, 1), (33, 96, 3)])
@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_it_matches_float64(make_problem, n: int, dim: int, width: int, blocks: int, guidance: float) -> None:
    problem, packed = make_problem(dim, width, blocks, (n, 3), guidance=guidance)
    exact = reference.denoise(problem, torch.float64)
    ours = ops.denoise(on_device(problem), packed.cuda()).cpu().double()
    torchs = reference.denoise(problem).double()
    assert float((ours - exact).abs().mean()) <= 2 * float((torchs - exact).abs().mean()) + 1e-7


def test_noise_has_the_same_bits(make_problem) -> None:
    problem, packed = make_problem(17, 32, 1, (300,), seeds=(-3,), firsts=(2**32 - 100,))
    problem = replace(
        problem,
        step_conditioning=problem.step_conditioning[:0],
        coefficients=problem.coefficients[:0],
        keys=problem.keys[:1],
    )
    drawn = ops.denoise(on_device(problem), packed.cuda()).cpu()
    expected = reference.noise(2**64 - 3, range(2**32 - 100, 2**32 + 200), 1000, 17)
    assert torch.equal(drawn.view(torch.int32), expected.view(torch.int32))


def test_bits_do_not_depend_on_the_split_or_the_order_of_jobs(make_problem) -> None:
    counts = (5, 0, 120, 1, 37)
    problem, packed = make_problem(10, 64, 2, counts)
    whole = ops.denoise(on_device(problem), packed.cuda()).split(counts)
    for order in ([4, 2, 0, 3, 1], [2], [3]):
        index = torch.tensor(order)
        chosen = replace(
            problem,
            job_conditioning=problem.job_conditioning[index],
            counts=problem.counts[index],
            seeds=problem.seeds[index],
            first_candidates=problem.first_candidates[index],
        )
        assert torch.equal(
            ops.denoise(on_device(chosen), packed.cuda()), torch.cat([whole[job] for job in order])
        )


def test_a_diverged_sample_names_the_step(make_problem) -> None:
    problem, packed = make_problem(6, 32, 2, (130,))
    conditioning = problem.step_conditioning.clone()
    conditioning[3, 0, 5] = torch.nan
    problem = replace(problem, step_conditioning=conditioning)
    with pytest.raises(BackendError, match="step 3"):
        ops.denoise(on_device(problem), packed.cuda())


def test_it_runs_on_the_current_stream(make_problem) -> None:
    problem, packed = make_problem(6, 32, 2, (130,))
    expected = ops.denoise(on_device(problem), packed.cuda())
    with torch.cuda.stream(torch.cuda.Stream()):
        assert torch.equal(ops.denoise(on_device(problem), packed.cuda()), expected)
