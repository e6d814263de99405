# SPDX-License-Identifier: Apache-2.0
"""Time of the reverse loop: `pytest bench/bench_denoise.py`, after a check of its result.

`python bench/bench_denoise.py` prints microseconds per reverse step and the rate beside that of torch's large
matrix product, measured in turn with them: processor time of one thread. A figure counts for the machine and
the hour it was taken on alone.
"""

from __future__ import annotations

import time

import pytest
import torch

from diffhpo.kernels import ops, reference
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model.network import Network
from diffhpo.model.packed_network import PackedNetwork
from diffhpo.model.reverse_process import ReverseProcess
from diffhpo.model.schedule import NoiseSchedule

_NETWORKS = ((64, 2), (128, 4))
_CANDIDATES = (1, 64, 1024)
_DIM = 16


def make_problem(width: int, blocks: int, n: int, steps: int) -> tuple[DenoiseProblem, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(_DIM, width=width, blocks=blocks)
    packed = PackedNetwork(network)
    packed.refresh()
    process = ReverseProcess.of(NoiseSchedule.linear(1000), steps, "ddpm")
    context = torch.linspace(-1, 1, network.context_width)
    problem = packed.problem(process, [1], [context], [n], [0], [0], 0.0, True)
    return problem, packed.weights


def check(problem: DenoiseProblem, packed: torch.Tensor, isa: str) -> None:
    """The result of what is about to be timed, against float64."""
    exact = reference.denoise(problem, torch.float64)
    error = (ops.denoise(problem, packed, isa=isa).double() - exact).abs().mean()
    torchs = (reference.denoise(problem).double() - exact).abs().mean()
    assert float(error) <= 2 * float(torchs) + 1e-6, (float(error), float(torchs))


@pytest.mark.parametrize("isa", ops.native_isas(runnable=True))
@pytest.mark.parametrize(("width", "blocks"), _NETWORKS)
@pytest.mark.parametrize("n", _CANDIDATES)
def test_denoise(benchmark, isa: str, width: int, blocks: int, n: int) -> None:
    problem, packed = make_problem(width, blocks, n, steps=50)
    check(problem, packed, isa)
    benchmark.extra_info["steps"] = 50
    benchmark(ops.denoise, problem, packed, isa=isa, threads=1)


def sgemm_rate(size: int = 1024) -> float:
    """FLOP/s of torch's large matrix product on one thread: a little below the FMA peak of the moment."""
    a, b = torch.ones(size, size), torch.ones(size, size)
    start = time.thread_time()
    torch.mm(a, b)
    return 2 * size**3 / (time.thread_time() - start)


def _flop(width: int, blocks: int) -> int:
    return 2 * (2 * _DIM * width + blocks * 4 * width * width)


def _time(problem: DenoiseProblem, packed: torch.Tensor) -> float:
    isa = ops.native_isas(runnable=True)[-1]
    start = time.thread_time()
    ops.denoise(problem, packed, isa=isa, threads=1)
    return time.thread_time() - start


def main() -> None:
    torch.set_num_threads(1)
    print("| network | candidates | us per step | GFLOP/s | of sgemm |\n|---|---|---|---|---|")
    for width, blocks in _NETWORKS:
        for n in _CANDIDATES:
            steps = 1000 if n < 1000 else 50
            problem, packed = make_problem(width, blocks, n, steps)
            peak, seconds = 0.0, float("inf")
            for _ in range(7):
                peak = max(peak, sgemm_rate())
                seconds = min(seconds, _time(problem, packed))
            rate = _flop(width, blocks) * n * steps / seconds
            microseconds = seconds / steps * 1e6
            print(f"| {width}x{blocks} | {n} | {microseconds:.1f} | {rate / 1e9:.0f} | {rate / peak:.0%} |")


if __name__ == "__main__":
    main()
