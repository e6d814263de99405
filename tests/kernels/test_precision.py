# SPDX-License-Identifier: Apache-2.0
"""The reverse loop at bf16 and int8 against its meaning in float64, and what it promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import coded_reference, ops, reference
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network
from diffhpo.model.schedule import NoiseSchedule

ISA = ops.native_isas(runnable=True)[-1]
LOW = ("bf16", "int8")


@pytest.fixture(params=LOW)
def precision(request: pytest.FixtureRequest) -> str:
    """Every lower precision; skipped where the processor lacks its instructions."""
    if request.param not in ops.precisions(ISA):
        pytest.skip(f"this processor has no {request.param} products")
    return request.param


def run(problem: DenoiseProblem, packed: torch.Tensor, precision: str, threads: int = 1) -> torch.Tensor:
    width, dim = problem.weights.input_weight.shape
    coded = ops.encode(packed, dim, width, len(problem.weights.expand_weights), precision)
    return ops.denoise(problem, packed, isa=ISA, threads=threads, precision=precision, coded=coded)


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12, 31, 97])
@pytest.mark.parametrize(
    ("dim", "width", "blocks"), [(16, 64, 2), (3, 32, 1), (18, 128, 2), (1, 40, 2), (64, 7, 1)]
)
def test_it_computes_what_the_reference_says(
    make_problem, precision: str, dim: int, width: int, blocks: int, count: int
) -> None:
    # One step and few blocks: a code that a float32 sum moves across a boundary goes its own way from there.
    problem, packed = make_problem(dim, width, blocks, (count,), steps=(300,))
    exact = coded_reference.denoise(problem, torch.float64, precision=precision)
    full = reference.denoise(problem, torch.float64)
    lost = (exact - full).abs().mean()  # what the codes cost: the kernel has to lie much nearer to `exact`
    error = (run(problem, packed, precision).double() - exact).abs().mean()
    assert float(error) <= 0.5 * float(lost), (float(error), float(lost))
    assert float(lost) < 0.05


def test_whole_processes_stay_near_the_reference(make_problem, precision: str) -> None:
    problem, packed = make_problem(16, 64, 2, (64,))
    exact = coded_reference.denoise(problem, torch.float64, precision=precision)
    lost = (exact - reference.denoise(problem, torch.float64)).abs().mean()
    assert float((run(problem, packed, precision).double() - exact).abs().mean()) <= float(lost)


def test_guidance_runs_both_branches(make_problem, precision: str) -> None:
    problem, packed = make_problem(5, 32, 2, (9,), guidance=1.5)
    exact = coded_reference.denoise(problem, torch.float64, precision=precision)
    assert float((run(problem, packed, precision).double() - exact).abs().mean()) < 0.005


def test_any_split_gives_the_same_bits(make_problem, precision: str) -> None:
    whole, packed = make_problem(5, 64, 2, (97,), seeds=(3,))
    every = run(whole, packed, precision)
    assert torch.equal(run(whole, packed, precision, threads=3), every)
    for first, count in ((0, 1), (1, 2), (40, 13), (96, 1)):
        part = replace(whole, counts=torch.tensor([count]), first_candidates=torch.tensor([first]))
        assert torch.equal(run(part, packed, precision), every[first : first + count])


def test_bf16_is_nearer_to_fp32_than_int8(make_problem) -> None:
    problem, _ = make_problem(16, 64, 2, (64,))
    full = reference.denoise(problem, torch.float64)
    distances = [
        float((coded_reference.denoise(problem, torch.float64, precision=low) - full).abs().mean())
        for low in LOW
    ]
    assert distances[0] < distances[1] < 0.02


def test_a_sample_that_diverges_is_reported(make_problem, precision: str) -> None:
    problem, packed = make_problem(5, 32, 2, (3,), clip=False)
    huge = replace(problem, step_conditioning=torch.full_like(problem.step_conditioning, 3e38))
    with pytest.raises(BackendError, match="stopped being finite at step 0"):
        run(huge, packed, precision)


def test_the_denoiser_follows_training(precision: str) -> None:
    network = Network(3, width=32)
    denoiser = Denoiser(network, NoiseSchedule.linear(50))
    before = denoiser.sample(None, 8, steps=10, precision=precision)
    with torch.no_grad():
        network.blocks[0].expand.weight.mul_(1.5)
    after = denoiser.sample(None, 8, steps=10, precision=precision)
    fresh = Denoiser(network, NoiseSchedule.linear(50)).sample(None, 8, steps=10, precision=precision)
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh)


def test_requests_that_cannot_be_met_are_errors() -> None:
    denoiser = Denoiser(Network(3, width=32), NoiseSchedule.linear(10))
    with pytest.raises(InputError, match="precision is 'half'; accepted: fp32, bf16, int8"):
        denoiser.sample(None, 1, steps=5, precision="half")
    for executor in ("reference", "cpu-portable"):
        with pytest.raises(BackendError, match=f"executor {executor} does not run at precision int8"):
            denoiser.sample(None, 1, steps=5, precision="int8", executor=executor)


@pytest.mark.parametrize("low", LOW)
def test_wrong_calls_of_the_native_module_are_exceptions(make_problem, low: str) -> None:
    problem, packed = make_problem(5, 32, 2, (3,))
    with pytest.raises(ValueError, match="nan or inf"):
        ops.encode(torch.full_like(packed, torch.nan), 5, 32, 2, low)
    with pytest.raises(ValueError, match="packed has shape"):
        ops.encode(packed[1:].clone(), 5, 32, 2, low)
    with pytest.raises(ValueError, match="accepted: bf16, int8"):
        ops.encode(packed, 5, 32, 2, "fp32")
    coded = ops.encode(packed, 5, 32, 2, low)
    with pytest.raises(InputError, match=r"coded has shape|does not have it"):
        ops.denoise(problem, packed, isa=ISA, precision=low, coded=coded[:-4].clone())
    with pytest.raises(InputError, match="is not built for isa portable"):
        ops.denoise(problem, packed, isa="portable", precision=low, coded=coded)
    with pytest.raises(InputError, match="coded has shape"):
        ops.denoise(problem, packed, isa="portable", coded=coded)
    with pytest.raises(InputError, match="precision is 'fp64'"):
        ops.denoise(problem, packed, isa="portable", precision="fp64")
