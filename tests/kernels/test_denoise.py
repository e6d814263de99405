# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.kernels.problem_variants import reordered, strided

from diffhpo.errors import BackendError
from diffhpo.kernels import ops, reference
from diffhpo.kernels.problem import DenoiseProblem

_SIZES = (0, 1, 2, 31, 64, 97, 1025)
_DIMS = (1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 47, 64)
_NETWORKS = ((32, 1), (64, 2), (96, 3), (128, 4), (20, 2), (7, 1))


def with_counts(problem: DenoiseProblem, *counts: int) -> DenoiseProblem:
    return replace(problem, counts=torch.tensor(counts))


def assert_as_exact_as_torch(problem: DenoiseProblem, packed: torch.Tensor, isa: str) -> None:
    """Mean error against float64 at most twice that of torch's own float32.

    Small problems are repeated with other candidates: the error of a few values is a matter of luck.
    """
    n = int(problem.counts.sum())
    exact, ours, torchs = [], [], []
    for repeat in range(-(-96 // n)):
        again = replace(problem, first_candidates=problem.first_candidates + repeat * 1000)
        exact.append(reference.denoise(again, torch.float64))
        ours.append(ops.denoise(again, packed, isa=isa))
        torchs.append(reference.denoise(again, torch.float32))

    def rounding(results: list[torch.Tensor]) -> float:
        return float((torch.cat(results).double() - torch.cat(exact)).abs().mean())

    assert rounding(ours) <= 2 * rounding(torchs) + 1e-8


@pytest.mark.parametrize("n", _SIZES)
def test_every_number_of_candidates_matches_float64(make_problem, isa: str, n: int) -> None:
    problem, packed = make_problem(16, 64, 2)
    problem = with_counts(problem, n)
    if n == 0:
        assert ops.denoise(problem, packed, isa=isa).shape == (0, 16)
    else:
        assert_as_exact_as_torch(problem, packed, isa)


@pytest.mark.parametrize("dim", _DIMS)
def test_every_dimension_matches_float64(make_problem, isa: str, dim: int) -> None:
    problem, packed = make_problem(dim, 32, 1, (37,))
    assert_as_exact_as_torch(problem, packed, isa)


@pytest.mark.parametrize(("width", "blocks"), _NETWORKS)
@pytest.mark.parametrize("clip", [True, False])
def test_every_network_matches_float64(make_problem, isa: str, width: int, blocks: int, clip: bool) -> None:
    problem, packed = make_problem(13, width, blocks, (29, 1, 0, 3), clip=clip)
    assert_as_exact_as_torch(problem, packed, isa)


def test_every_remainder_of_rows_has_the_same_bits(make_problem, isa: str) -> None:
    problem, packed = make_problem(9, 48, 2)
    problem = with_counts(problem, 96)
    assert_as_exact_as_torch(problem, packed, isa)
    whole = ops.denoise(problem, packed, isa=isa)
    for rows in range(1, 40):
        assert torch.equal(ops.denoise(with_counts(problem, rows), packed, isa=isa), whole[:rows])


def test_the_full_loop_matches_float64(make_problem, isa: str) -> None:
    problem, packed = make_problem(16, 64, 2, (96,), steps=1000)
    assert_as_exact_as_torch(problem, packed, isa)


@pytest.mark.parametrize("guidance", [0.5, 3.0, -1.0])
def test_guidance_matches_float64(make_problem, isa: str, guidance: float) -> None:
    problem, packed = make_problem(7, 32, 2, (11, 4), guidance=guidance)
    assert problem.job_conditioning.shape[1] == 2
    assert_as_exact_as_torch(problem, packed, isa)


def test_ddim_matches_float64(make_problem, isa: str) -> None:
    problem, packed = make_problem(6, 64, 2, (21,), method="ddim")
    assert_as_exact_as_torch(problem, packed, isa)


def test_large_conditioning_matches_float64(make_problem, isa: str) -> None:
    problem, packed = make_problem(6, 32, 2, (9,))
    problem = replace(problem, job_conditioning=problem.job_conditioning * 1e6)
    assert_as_exact_as_torch(problem, packed, isa)


@pytest.mark.parametrize(("width", "dim"), [(64, 16), (96, 5), (20, 33)])
@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_bits_do_not_depend_on_the_split(
    make_problem, isa: str, width: int, dim: int, guidance: float
) -> None:
    n = 230
    problem, packed = make_problem(dim, width, 2, (n,), guidance=guidance)
    whole = ops.denoise(problem, packed, isa=isa)
    cuts = [0, 1, 3, 6, 10, 15, 21, 28, 36, 45, 57, 70, 84, 180, n]
    parts = []
    for start, stop in pairwise(cuts):
        part = replace(problem, first_candidates=torch.tensor([start]))
        parts.append(ops.denoise(with_counts(part, stop - start), packed, isa=isa))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.fault(35)
@pytest.mark.parametrize("threads", [2, 3, 7, 64])
def test_bits_do_not_depend_on_threads(make_problem, isa: str, threads: int) -> None:
    problem, packed = make_problem(10, 64, 2, (200, 1, 0, 33))
    one = ops.denoise(problem, packed, isa=isa, threads=1)
    assert torch.equal(ops.denoise(problem, packed, isa=isa, threads=threads), one)


def test_bits_do_not_depend_on_the_order_of_jobs(make_problem, isa: str) -> None:
    counts = (5, 0, 120, 1, 37)
    problem, packed = make_problem(10, 64, 2, counts, seeds=(1, 2, 3, 1, -5), firsts=(0, 4, 9, 2**33, 1))
    whole = ops.denoise(problem, packed, isa=isa).split(counts)
    for order in ([4, 2, 0, 3, 1], [2], [3, 3]):
        chosen = reordered(problem, order)
        assert torch.equal(ops.denoise(chosen, packed, isa=isa), torch.cat([whole[job] for job in order]))


def test_strided_inputs_give_the_same_bits(make_problem, isa: str) -> None:
    problem, packed = make_problem(10, 32, 2, (3, 5))

    names = ("step_conditioning", "job_conditioning", "coefficients", "keys", "counts", "seeds")
    moved = replace(problem, **{name: strided(getattr(problem, name)) for name in names})
    expected = ops.denoise(problem, packed, isa=isa)
    assert torch.equal(ops.denoise(moved, strided(packed), isa=isa), expected)


def test_without_steps_the_noise_comes_back(make_problem, isa: str) -> None:
    problem, packed = make_problem(6, 32, 1, (5,))
    problem = replace(
        problem,
        step_conditioning=problem.step_conditioning[:0],
        coefficients=problem.coefficients[:0],
        keys=problem.keys[:1],
    )
    assert torch.equal(ops.denoise(problem, packed, isa=isa), reference.noise(3, range(5), 1000, 6))


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_a_diverged_sample_names_the_first_step(make_problem, isa: str, clip: bool, value: float) -> None:
    problem, packed = make_problem(6, 32, 2, (130,), clip=clip)
    conditioning = problem.step_conditioning.clone()
    conditioning[3, 0, 5] = value
    if value == 1e38:  # finite in the hidden layer, beyond float32 in its sums
        conditioning[3] = value
    problem = replace(problem, step_conditioning=conditioning)
    for run in (
        lambda: reference.denoise(problem),
        lambda: ops.denoise(problem, packed, isa=isa),
        lambda: ops.denoise(problem, packed, isa=isa, threads=3),
    ):
        with pytest.raises(BackendError, match=rf"step 3 \(timestep {int(problem.keys[4])}\)"):
            run()


def test_silu_holds_at_the_ends_of_float32(make_problem, isa: str) -> None:
    """Hidden values far beyond the range of exp, both signs: silu(x) tends to x and to 0."""
    for size in (80.0, 90.0, 1e4, 1e20, 1e30):
        problem, packed = make_problem(4, 32, 1, (3,), steps=[30])
        signs = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
        problem = replace(problem, step_conditioning=(size * signs).expand(1, 1, 64))
        exact = reference.denoise(problem, torch.float64)
        assert torch.allclose(ops.denoise(problem, packed, isa=isa).double(), exact, atol=1e-6)


def test_silu_is_exact_to_float32(make_problem, isa: str) -> None:
    """A network that returns silu of its conditioning: one step hands it out, value by value."""
    width, jobs = 32, 400
    problem, _ = make_problem(width, width, 1, (1,) * jobs, steps=[0], clip=False)
    values = torch.linspace(-30, 30, jobs * 2 * width).view(jobs, 1, 1, 2 * width)
    weights = replace(
        problem.weights,
        input_weight=torch.zeros(width, width),
        input_bias=torch.zeros(width),
        expand_weights=(torch.zeros(2 * width, width),),
        contract_weights=(torch.eye(width, 2 * width),),
        contract_biases=(torch.zeros(width),),
        output_weight=torch.eye(width),
        output_bias=torch.zeros(width),
    )
    problem = replace(
        problem,
        weights=weights,
        step_conditioning=torch.zeros(1, 1, 2 * width),
        job_conditioning=values,
        coefficients=torch.tensor([[0.0, -1.0, 1.0, 0.0, 0.0]], dtype=torch.float64),
    )
    returned = ops.denoise(problem, ops.pack(weights), isa=isa).double()
    exact = torch.nn.functional.silu(values[:, 0, 0, :width].double())
    relative = (returned - exact).abs() / exact.abs()
    assert float(relative.max()) < 1e-6
    assert float(relative[values[:, 0, 0, :width].abs() < 8].max()) < 4e-7
    assert float((returned - exact)[exact.abs() < 1].abs().max()) < 1.2e-7  # an ulp of values near 1
