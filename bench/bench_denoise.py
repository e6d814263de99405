# SPDX-License-Identifier: Apache-2.0
"""Time of the reverse loop: `pytest bench/bench_denoise.py`, after a check of its result.

`python bench/bench_denoise.py` prints microseconds per reverse step at every precision, and the rate beside
the core's multiply-add peak, measured in turn with them: processor time of one thread. A figure counts for
the machine and the hour it was taken on alone. bench/compare.py has the rivals.
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
_CANDIDATES = (1, 8, 64, 1024)
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


def peak(isa: str) -> float:
    """FLOP/s of multiply-adds on registers, this moment."""
    start = time.thread_time()
    done = ops.multiply_add(20_000, isa=isa)
    return done / (time.thread_time() - start)


def _flop(width: int, blocks: int) -> int:
    return 2 * (2 * _DIM * width + blocks * 4 * width * width)


def _time(problem: DenoiseProblem, packed: torch.Tensor, isa: str, precision: str) -> float:
    coded = None
    if precision != "fp32":
        width, dim = problem.weights.input_weight.shape
        coded = ops.encode(packed, dim, width, len(problem.weights.expand_weights), precision)
    start = time.thread_time()
    ops.denoise(problem, packed, isa=isa, threads=1, precision=precision, coded=coded)
    return time.thread_time() - start


def main() -> None:
    torch.set_num_threads(1)
    isa = ops.native_isas(runnable=True)[-1]
    offered = ops.precisions(isa)
    print(f"{isa}, d = {_DIM}, one thread\n")
    lower = "".join(f" {precision}, us per step | times fp32 |" for precision in offered[1:])
    print("| network | candidates | fp32, us per step | GFLOP/s | of peak |" + lower)
    print("|---|---|---|---|---|" + "---|---|" * len(offered[1:]))
    for width, blocks in _NETWORKS:
        for n in _CANDIDATES:
            steps = 1000 if n < 1000 else 50
            problem, packed = make_problem(width, blocks, n, steps)
            top, seconds = 0.0, dict.fromkeys(offered, float("inf"))
            for _ in range(7):
                top = max(top, peak(isa))
                for precision in offered:
                    seconds[precision] = min(seconds[precision], _time(problem, packed, isa, precision))
            rate = _flop(width, blocks) * n * steps / seconds["fp32"]
            cells = [f"{width}x{blocks}", f"{n}", f"{seconds['fp32'] / steps * 1e6:.2f}"]
            cells += [f"{rate / 1e9:.0f}", f"{rate / top:.0%}"]
            for precision in offered[1:]:
                gain = seconds["fp32"] / seconds[precision]
                cells += [f"{seconds[precision] / steps * 1e6:.2f}", f"{gain:.2f}x"]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
