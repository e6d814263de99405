# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels' own source, compiled for the CPU with AddressSanitizer and UndefinedBehaviorSanitizer.

cuda_emulation/ stands for the device: barriers, warp operations, asynchronous copies, tensor cores. It shows
that indices, layouts, barriers and arithmetic are right; docs/cuda_memory_safety.md says what it cannot show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.kernels.problem_variants import reordered
from torch import Tensor

from diffhpo.kernels import ops, reference
from diffhpo.kernels.problem import DenoiseProblem

_HERE = Path(__file__).parent
_CSRC = _HERE.parents[1] / "csrc"
_COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(_COMPILER is None, reason="no g++ to compile the emulated CUDA kernels with")

_H100_SHARED_BYTES = 232_448
#: The program has its own sanitizers, whichever this process runs under.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
_ENVIRONMENT["ASAN_OPTIONS"] = "detect_leaks=0"
Run = Callable[..., Tensor]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cuda_emulation") / "denoise"
    emulation = _HERE / "cuda_emulation"
    flags = "-std=c++17 -O1 -g1 -fno-math-errno -ffp-contract=off -Wall -Wextra -Werror -Wno-unknown-pragmas"
    flags += " -fsanitize=address,undefined -fno-sanitize-recover=all -DDIFFHPO_CUDA_EMULATION"
    sources = [
        _CSRC / "cuda" / "denoise_cuda.cu",
        _CSRC / "cuda" / "denoise_cuda_bf16.cu",
        _CSRC / "cuda" / "arrange_cuda.cu",
        *sorted(emulation.glob("*.cpp")),
    ]
    includes = [f"-I{emulation}", f"-I{_CSRC}"]
    command = [_COMPILER, *flags.split(), *includes, "-x", "c++", *map(str, sources), "-o", str(path)]
    built = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT)
    assert built.returncode == 0, built.stderr
    return path


@pytest.fixture
def run(program: Path, tmp_path: Path) -> Run:
    """(problem, packed) -> x; a run that a device would not survive fails the test with what it broke."""

    def call(
        problem: DenoiseProblem,
        packed: Tensor,
        *,
        bf16: bool,
        shared_bytes: int = _H100_SHARED_BYTES,
        processors: int = 132,
        order: int = 0,
        diverged: int | None = None,
    ) -> Tensor:
        width, dim = problem.weights.input_weight.shape
        blocks, branches = len(problem.weights.expand_weights), problem.job_conditioning.shape[1]
        steps, jobs, n = len(problem.coefficients), len(problem.counts), int(problem.counts.sum())
        starts = torch.cumsum(problem.counts, 0) - problem.counts
        table = torch.stack([starts, problem.seeds, problem.first_candidates], dim=1)
        sizes = [
            dim,
            width,
            blocks,
            steps,
            jobs,
            branches,
            n,
            problem.clip,
            bf16,
            shared_bytes,
            processors,
            order,
        ]
        arrays = [torch.tensor(sizes), torch.tensor([problem.guidance], dtype=torch.float64), packed]
        arrays += [problem.step_conditioning, problem.job_conditioning, problem.coefficients, problem.keys]
        arrays += [problem.counts, problem.seeds, problem.first_candidates, table]
        with (tmp_path / "in").open("wb") as file:
            for array in arrays:
                values = array.contiguous().numpy()
                np.array([values.nbytes]).tofile(file)
                values.tofile(file)
        command = [program, tmp_path / "in", tmp_path / "out"]
        done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        out = (tmp_path / "out").read_bytes()
        step = int(np.frombuffer(out[:8], np.int64)[0])
        assert step == (torch.iinfo(torch.int64).max if diverged is None else diverged)
        return torch.from_numpy(np.frombuffer(out[8:], np.float32).copy()).reshape(n, dim)

    return call


def error(x: Tensor, exact: Tensor) -> float:
    return float((x.double() - exact).abs().mean())


Check = Callable[[DenoiseProblem, Tensor], None]


@pytest.fixture
def assert_as_exact_as_bf16(bf16_model: Callable[[DenoiseProblem], Tensor]) -> Check:
    def check(problem: DenoiseProblem, x: Tensor) -> None:
        exact = reference.denoise(problem, torch.float64)
        assert error(x, exact) <= 2 * error(bf16_model(problem), exact) + 1e-7

    return check


def assert_as_exact_as_torch(problem: DenoiseProblem, x: Tensor) -> None:
    exact = reference.denoise(problem, torch.float64)
    assert error(x, exact) <= 2 * error(reference.denoise(problem), exact) + 1e-7


_NETWORKS = [(16, 64, 2), (13, 128, 1), (1, 32, 1), (33, 96, 1), (18, 64, 1), (64, 32, 2), (3, 96, 2)]


@pytest.mark.parametrize(("dim", "width", "blocks"), _NETWORKS)
def test_bf16_matches_float64(
    run: Run, assert_as_exact_as_bf16: Check, make_problem, dim: int, width: int, blocks: int
) -> None:
    problem, packed = make_problem(dim, width, blocks, (30, 0, 1, 14))
    assert_as_exact_as_bf16(problem, run(problem, packed, bf16=True, processors=2))


def test_bf16_rounds_where_it_says(run: Run, bf16_model, make_problem) -> None:
    """Beside the model that rounds at the same places, what is left is fp32 sums and an approximate tanh."""
    problem, packed = make_problem(16, 64, 2, (64,))
    exact, model = reference.denoise(problem, torch.float64), bf16_model(problem)
    assert error(run(problem, packed, bf16=True), model) <= 0.7 * error(model, exact)


def test_bf16_full_loop_matches_float64(run: Run, assert_as_exact_as_bf16: Check, make_problem) -> None:
    problem, packed = make_problem(16, 32, 1, (16,), steps=1000)
    assert_as_exact_as_bf16(problem, run(problem, packed, bf16=True))


@pytest.mark.parametrize("guidance", [0.5, -1.0])
def test_bf16_guidance_matches_float64(
    run: Run, assert_as_exact_as_bf16: Check, make_problem, guidance: float
) -> None:
    problem, packed = make_problem(7, 32, 2, (11, 4), guidance=guidance)
    assert problem.job_conditioning.shape[1] == 2
    assert_as_exact_as_bf16(problem, run(problem, packed, bf16=True, processors=1))


@pytest.mark.parametrize("options", [{"method": "ddim"}, {"clip": False}, {"steps": (300,)}])
def test_bf16_processes_match_float64(
    run: Run, assert_as_exact_as_bf16: Check, make_problem, options: dict[str, object]
) -> None:
    problem, packed = make_problem(6, 32, 1, (21,), **options)
    assert_as_exact_as_bf16(problem, run(problem, packed, bf16=True, processors=1))


def resident_bytes(problem: DenoiseProblem) -> int:
    """Shared memory that holds a network and nothing more: a warp then has its candidates for itself."""
    width, dim = problem.weights.input_weight.shape
    blocks = len(problem.weights.expand_weights)
    step = blocks * 2 * width * 4 + 48
    return ops.native().fragment_bytes(dim, width, blocks) + 2 * step


_STREAMING = 64_000  # bytes of shared memory that the smallest ring fits, and no network below


@pytest.mark.parametrize(("dim", "width", "blocks"), [(16, 96, 2), (5, 64, 3), (5, 128, 1)])
@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_a_streamed_network_gives_the_same_bits(
    run: Run, make_problem, dim: int, width: int, blocks: int, guidance: float
) -> None:
    problem, packed = make_problem(dim, width, blocks, (20, 9), guidance=guidance)
    assert ops.native().fragment_bytes(dim, width, blocks) > _STREAMING
    resident = run(problem, packed, bf16=True, processors=1, shared_bytes=resident_bytes(problem))
    streamed = run(problem, packed, bf16=True, processors=1, shared_bytes=_STREAMING, order=1)
    assert torch.equal(resident, streamed)


@pytest.mark.parametrize("bf16", [True, False])
def test_bits_do_not_depend_on_the_split_or_the_order_of_jobs(run: Run, make_problem, bf16: bool) -> None:
    counts = (5, 0, 70, 1, 17)
    problem, packed = make_problem(10, 64, 1, counts, steps=(300, 20, 0))
    whole = run(problem, packed, bf16=bf16).split(counts)
    for order in ([4, 2, 0, 3, 1], [2]):
        part = run(reordered(problem, order), packed, bf16=bf16, order=order[0])
        assert torch.equal(part, torch.cat([whole[job] for job in order]))


@pytest.mark.parametrize("n", [0, 1, 2, 31, 97, 300])
def test_bits_do_not_depend_on_how_the_work_is_cut(run: Run, make_problem, n: int) -> None:
    """A block for 16 candidates; a warp for 16, or 32 from 129 on, in several rounds; a streamed network."""
    problem, packed = make_problem(18, 32, 3, (n,), steps=(300, 20, 0))
    split = run(problem, packed, bf16=True, processors=132)
    assert split.shape == (n, 18)
    resident = resident_bytes(problem)
    for processors in (132, 1):
        alone = run(
            problem, packed, bf16=True, processors=processors, shared_bytes=resident, order=processors
        )
        assert torch.equal(alone, split)
    assert resident > 21_000
    assert torch.equal(run(problem, packed, bf16=True, processors=1, shared_bytes=21_000), split)


@pytest.mark.parametrize(("dim", "width", "blocks"), _NETWORKS)
def test_split_and_alone_give_the_same_bits(
    run: Run, make_problem, dim: int, width: int, blocks: int
) -> None:
    problem, packed = make_problem(dim, width, blocks, (30, 0, 1, 14), guidance=2.0, steps=(300, 20, 0))
    split = run(problem, packed, bf16=True)
    alone = run(problem, packed, bf16=True, shared_bytes=resident_bytes(problem))
    assert torch.equal(split, alone)


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("dim", [1, 16, 18, 64])
def test_noise_has_the_same_bits(run: Run, make_problem, bf16: bool, dim: int) -> None:
    problem, packed = make_problem(dim, 32, 1, (130,), seeds=(-3,), firsts=(2**32 - 100,))
    problem = replace(
        problem,
        step_conditioning=problem.step_conditioning[:0],
        coefficients=problem.coefficients[:0],
        keys=problem.keys[:1],
    )
    drawn = run(problem, packed, bf16=bf16, processors=1)
    expected = reference.noise(2**64 - 3, range(2**32 - 100, 2**32 + 30), 1000, dim)
    assert torch.equal(drawn.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize(("value", "clip"), [(torch.nan, True), (torch.nan, False), (3e38, True)])
def test_a_diverged_sample_names_the_first_step(
    run: Run, make_problem, bf16: bool, value: float, clip: bool
) -> None:
    problem, packed = make_problem(6, 32, 2, (40,), clip=clip)
    conditioning = problem.step_conditioning.clone()
    conditioning[3, 0] = value
    run(replace(problem, step_conditioning=conditioning), packed, bf16=bf16, diverged=3)


@pytest.mark.parametrize(("dim", "width", "blocks"), [(16, 64, 2), (13, 128, 1), (1, 20, 1), (33, 96, 1)])
def test_fp32_matches_float64(run: Run, make_problem, dim: int, width: int, blocks: int) -> None:
    problem, packed = make_problem(dim, width, blocks, (30, 0, 1, 66), guidance=0.5)
    assert_as_exact_as_torch(problem, run(problem, packed, bf16=False))


def test_fp32_reads_a_network_that_does_not_fit_from_global_memory(run: Run, make_problem) -> None:
    problem, packed = make_problem(5, 32, 2, (37,))
    small = run(problem, packed, bf16=False, shared_bytes=20_000)
    assert torch.equal(small, run(problem, packed, bf16=False))


def test_fp32_agrees_with_the_cpu(run: Run, make_problem) -> None:
    problem, packed = make_problem(16, 64, 2, (64,))
    cpu = ops.denoise(problem, packed, isa="portable")
    assert error(run(problem, packed, bf16=False), cpu.double()) <= 2e-6
