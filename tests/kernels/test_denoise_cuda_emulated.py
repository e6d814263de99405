# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels' own source, compiled for the CPU with AddressSanitizer and UndefinedBehaviorSanitizer.

cuda_emulation/ stands for the device: barriers, warp operations, asynchronous copies, tensor cores. It shows that
indices, layouts, barriers and arithmetic are right; not what a device alone can show (docs/cuda_memory_safety.md).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffhpo.kernels import ops, reference
from diffhpo.kernels.problem import DenoiseProblem

_HERE = Path(__file__).parent
_CSRC = _HERE.parents[1] / "csrc"
_COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(_COMPILER is None, reason="no g++ to compile the emulated CUDA kernels with")

_H100_SHARED_BYTES = 232_448
Run = Callable[..., Tensor]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cuda_emulation") / "denoise"
    emulation = _HERE / "cuda_emulation"
    flags = "-std=c++17 -O1 -g1 -fno-math-errno -ffp-contract=off -Wall -Wextra -Werror -Wno-unknown-pragmas"
    flags += " -fsanitize=address,undefined -fno-sanitize-recover=all -DDIFFHPO_CUDA_EMULATION"
    sources = [_CSRC / "denoise_cuda.cu", _CSRC / "denoise_cuda_bf16.cu", *sorted(emulation.glob("*.cpp"))]
    includes = [f"-I{emulation}", f"-I{_CSRC}"]
    command = [_COMPILER, *flags.split(), *includes, "-x", "c++", *map(str, sources), "-o", str(path)]
    built = subprocess.run(command, capture_output=True, text=True)
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
        sizes = [dim, width, blocks, steps, jobs, branches, n, problem.clip, bf16, shared_bytes, processors, order]
        arrays = [torch.tensor(sizes), torch.tensor([problem.guidance], dtype=torch.float64), packed]
        arrays += [problem.step_conditioning, problem.job_conditioning, problem.coefficients, problem.keys]
        arrays += [problem.counts, problem.seeds, problem.first_candidates, table]
        with (tmp_path / "in").open("wb") as file:
            for array in arrays:
                values = array.contiguous().numpy()
                np.array([values.nbytes]).tofile(file)
                values.tofile(file)
        done = subprocess.run([program, tmp_path / "in", tmp_path / "out"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        out = (tmp_path / "out").read_bytes()
        step = int(np.frombuffer(out[:8], np.int64)[0])
        assert step == (torch.iinfo(torch.int64).max if diverged is None else diverged)
        return torch.from_numpy(np.frombuffer(out[8:], np.float32).copy()).reshape(n, dim)

    return call


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().to(x.dtype)


def bf16_model(problem: DenoiseProblem) -> Tensor:
    """The loop in float64, its weights, and what enters a matrix product, rounded to bf16 as in the kernel."""
    w = problem.weights
    rows = torch.repeat_interleave(torch.arange(len(problem.counts)), problem.counts)
    starts = torch.cumsum(problem.counts, 0) - problem.counts
    candidates = torch.arange(len(rows)) - starts[rows] + problem.first_candidates[rows]
    conditioning = problem.job_conditioning[rows].double()

    def linear(x: Tensor, weight: Tensor) -> Tensor:
        return rounded(x) @ rounded(weight).double().T

    def branch(x: Tensor, step: int, at: int) -> Tensor:
        shift = problem.step_conditioning[step].double() + conditioning[:, at]
        h = linear(x, w.input_weight) + w.input_bias.double()
        for b, expand in enumerate(w.expand_weights):
            hidden = torch.nn.functional.silu(linear(h, expand) + shift[:, b])
            h = h + w.contract_biases[b].double() + linear(hidden, w.contract_weights[b])
        return linear(h, w.output_weight) + w.output_bias.double()

    def predict(x: Tensor, step: int) -> Tensor:
        eps = branch(x, step, 0)
        if conditioning.shape[1] == 2:
            eps = eps * (1.0 + problem.guidance) - branch(x, step, 1) * problem.guidance
        return eps

    dim = w.input_weight.shape[1]
    return reference.reverse_loop(
        predict, problem.coefficients, problem.keys, problem.seeds[rows], candidates, dim, clip=problem.clip
    )


def error(x: Tensor, exact: Tensor) -> float:
    return float((x.double() - exact).abs().mean())


def assert_as_exact_as_bf16(problem: DenoiseProblem, x: Tensor) -> None:
    exact = reference.denoise(problem, torch.float64)
    assert error(x, exact) <= 2 * error(bf16_model(problem), exact) + 1e-7


def assert_as_exact_as_torch(problem: DenoiseProblem, x: Tensor) -> None:
    exact = reference.denoise(problem, torch.float64)
    assert error(x, exact) <= 2 * error(reference.denoise(problem), exact) + 1e-7


_NETWORKS = [(16, 64, 2), (13, 128, 1), (1, 32, 1), (33, 96, 1), (18, 64, 1), (64, 32, 2), (3, 96, 2)]


@pytest.mark.parametrize(("dim", "width", "blocks"), _NETWORKS)
def test_bf16_matches_float64(run: Run, make_problem, dim: int, width: int, blocks: int) -> None:
    problem, packed = make_problem(dim, width, blocks, (30, 0, 1, 14))
    assert_as_exact_as_bf16(problem, run(problem, packed, bf16=True, processors=2))
