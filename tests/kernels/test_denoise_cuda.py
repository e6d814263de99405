# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from tests.kernels.problem_variants import reordered

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import executors, ops, reference
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network

_MISSING = executors.unavailable().get("cuda")
pytestmark = pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))


def on_device(problem: DenoiseProblem) -> DenoiseProblem:
    moved = ("step_conditioning", "job_conditioning", "coefficients", "keys")
    names = [field.name for field in fields(problem) if field.name in moved]
    return replace(problem, **{name: getattr(problem, name).cuda() for name in names})


def at_bf16(problem: DenoiseProblem, packed: torch.Tensor) -> dict[str, object]:
    """What makes `ops.denoise` run at bf16."""
    width, dim = problem.weights.input_weight.shape
    blocks = len(problem.weights.expand_weights)
    return {"precision": "bf16", "coded": ops.encode(packed.cuda(), dim, width, blocks, "bf16")}


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
        chosen = reordered(problem, order)
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
        bf16 = ops.denoise(on_device(problem), packed.cuda(), **at_bf16(problem, packed))
    assert torch.equal(ops.denoise(on_device(problem), packed.cuda(), **at_bf16(problem, packed)), bf16)


def test_fp32_agrees_with_the_cpu(make_problem) -> None:
    problem, packed = make_problem(16, 64, 2, (256,))
    ours = ops.denoise(on_device(problem), packed.cuda()).cpu()
    assert float((ours - ops.denoise(problem, packed)).abs().mean()) <= 2e-6


@pytest.mark.parametrize("n", [0, 1, 31, 97, 1025])
@pytest.mark.parametrize(
    ("dim", "width", "blocks"), [(16, 64, 2), (13, 128, 4), (1, 32, 1), (33, 96, 3), (64, 64, 6), (18, 96, 4)]
)
@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_bf16_matches_float64(
    make_problem,
    bf16_model: Callable[[DenoiseProblem], torch.Tensor],
    n: int,
    dim: int,
    width: int,
    blocks: int,
    guidance: float,
) -> None:
    problem, packed = make_problem(dim, width, blocks, (n, 3), guidance=guidance)
    exact = reference.denoise(problem, torch.float64)
    ours = ops.denoise(on_device(problem), packed.cuda(), **at_bf16(problem, packed)).cpu().double()
    model = bf16_model(problem)
    assert float((ours - exact).abs().mean()) <= 2 * float((model - exact).abs().mean()) + 1e-7


def test_bf16_bits_do_not_depend_on_the_batch(make_problem) -> None:
    """One tile a warp, two of them, several rounds: the last 100 candidates of 100,000 drawn alone."""
    problem, packed = make_problem(10, 64, 2, (100_000,))
    options = at_bf16(problem, packed)
    whole = ops.denoise(on_device(problem), packed.cuda(), **options)
    for n in (100, 1, 5000, 40_000):
        first = problem.first_candidates + 100_000 - n
        part = replace(problem, counts=torch.tensor([n]), first_candidates=first)
        assert torch.equal(ops.denoise(on_device(part), packed.cuda(), **options), whole[-n:])


def test_bf16_names_the_step_of_a_diverged_sample(make_problem) -> None:
    problem, packed = make_problem(6, 32, 2, (130,))
    conditioning = problem.step_conditioning.clone()
    conditioning[3, 0, 5] = torch.nan
    problem = replace(problem, step_conditioning=conditioning)
    with pytest.raises(BackendError, match="step 3"):
        ops.denoise(on_device(problem), packed.cuda(), **at_bf16(problem, packed))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_captured_loop_replays_on_new_inputs(make_problem, precision: str) -> None:
    problem, packed = make_problem(16, 64, 2, (1025,))
    options = at_bf16(problem, packed) if precision == "bf16" else {}
    moved = on_device(problem)
    expected = ops.denoise(moved, packed.cuda(), **options)
    loop = ops.prepare_cuda(moved, packed.cuda(), **options)
    loop.launch()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loop.launch()
    loop.x.zero_()
    graph.replay()
    assert loop.diverged_step() == -1
    assert torch.equal(loop.x, expected)
    moved.step_conditioning.mul_(0.5)
    graph.replay()
    assert torch.equal(loop.x, ops.denoise(moved, packed.cuda(), **options))


def test_conditioning_may_start_anywhere(make_problem) -> None:
    problem, packed = make_problem(16, 64, 2, (40,))
    moved, options = on_device(problem), at_bf16(problem, packed)
    expected = ops.denoise(moved, packed.cuda(), **options)
    size = moved.step_conditioning.numel()
    shifted = torch.zeros(size + 1, device="cuda")[1:].view_as(moved.step_conditioning)
    shifted.copy_(moved.step_conditioning)
    moved = replace(moved, step_conditioning=shifted)
    assert torch.equal(ops.denoise(moved, packed.cuda(), **options), expected)


def test_the_denoiser_samples_at_bf16() -> None:
    denoiser = Denoiser(Network(16, width=64, blocks=2).cuda())
    exact = denoiser.sample(None, 200, steps=20, seed=1)
    rounded = denoiser.sample(None, 200, steps=20, seed=1, precision="bf16")
    assert 0 < float((exact - rounded).abs().mean()) < 0.02
    wide = Denoiser(Network(16, width=48, blocks=1).cuda())
    with pytest.raises(BackendError, match="precision='fp32'"):
        wide.sample(None, 2, steps=2, precision="bf16")


_SANITIZED = """
import torch
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network
for width, blocks, dim in ((64, 2, 16), (128, 4, 13), (32, 1, 40)):
    denoiser = Denoiser(Network(dim, width=width, blocks=blocks).cuda())
    for precision in ("fp32", "bf16"):
        denoiser.sample(None, 97, steps=5, precision=precision, guidance=0.5)
"""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer is not on PATH")
    # initcheck alone would count torch's own caching allocator's reads of padding.
    command = [program, "--tool", tool, "--kernel-name", "kernel_substring=denoise", "--error-exitcode", "9"]
    done = subprocess.run([*command, sys.executable, "-c", _SANITIZED], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_calls_raise(make_problem) -> None:
    problem, packed = make_problem(6, 32, 2, (5,))
    moved, weights, coded = on_device(problem), packed.cuda(), at_bf16(problem, packed)["coded"]
    assert isinstance(coded, torch.Tensor)
    for wrong in (coded[:-16], coded.cpu(), coded.float(), coded.expand(2, -1)):
        with pytest.raises(InputError, match="coded"):
            ops.denoise(moved, weights, precision="bf16", coded=wrong)
    with pytest.raises(InputError, match="precision"):
        ops.denoise(moved, weights, precision="int8", coded=coded)
    with pytest.raises(InputError, match="keys"):
        ops.denoise(replace(moved, keys=moved.keys[1:]), weights, precision="bf16", coded=coded)
    with pytest.raises(InputError, match="CUDA"):
        ops.denoise(replace(moved, keys=problem.keys), weights, precision="bf16", coded=coded)
    with pytest.raises(BackendError, match="do not cover"):
        ops.encode(ops.pack(make_problem(65, 32, 1)[0].weights).cuda(), 65, 32, 1, "bf16")
