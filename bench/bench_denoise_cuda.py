# SPDX-License-Identifier: Apache-2.0
"""Time of the CUDA reverse loop beside torch.compile with CUDA graphs, in one run: needs a CUDA device.

`python bench/bench_denoise_cuda.py` checks the results, then prints milliseconds of a whole loop, its rate,
the rate of torch's large bf16 matrix product at the same moment, and the rival's time. The rival is the same
network in bf16 under torch.autocast, its step compiled with mode="max-autotune" (which captures CUDA graphs),
noise by torch.randn on the device, conditioning precomputed as ours is.
`pytest bench/bench_denoise_cuda.py` checks only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffhpo.kernels import executors, ops, reference
from diffhpo.kernels.cuda_loop import CudaLoop
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model.network import Network
from diffhpo.model.packed_network import PackedNetwork
from diffhpo.model.reverse_process import ReverseProcess
from diffhpo.model.schedule import NoiseSchedule

_MISSING = executors.unavailable().get("cuda")
pytestmark = pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))
_NETWORKS = ((64, 2), (128, 4))
_CANDIDATES = (1, 64, 1024, 16_384, 65_536, 1_048_576)
_DIM = 16
_REPEATS = 5


def make_problem(width: int, blocks: int, n: int, steps: int) -> tuple[DenoiseProblem, Tensor, Tensor]:
    """Problem, packed weights and bf16 weights, on the device."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(_DIM, width=width, blocks=blocks).cuda()
    packed = PackedNetwork(network)
    packed.refresh()
    process = ReverseProcess.of(NoiseSchedule.linear(1000), steps, "ddpm")
    context = torch.linspace(-1, 1, network.context_width)
    with torch.no_grad():
        problem = packed.problem(process, [1], [context], [n], [0], [0], 0.0, True)
    coded = packed.coded("bf16")
    assert coded is not None
    return problem, packed.weights, coded


def prepare(width: int, blocks: int, n: int, steps: int, precision: str) -> CudaLoop:
    problem, packed, coded = make_problem(width, blocks, n, steps)
    return ops.prepare_cuda(
        problem, packed, precision=precision, coded=coded if precision == "bf16" else None
    )


def check(width: int, blocks: int, precision: str) -> float:
    """Mean distance to float64 of a short loop; tests/kernels/test_denoise_cuda.py has the tight bound."""
    problem, packed, coded = make_problem(width, blocks, 97, 20)
    x = ops.denoise(problem, packed, precision=precision, coded=coded if precision == "bf16" else None)
    weights = problem.weights
    host = replace(
        problem,
        weights=replace(
            weights,
            **{
                name: tuple(w.cpu() for w in value) if isinstance(value, tuple) else value.cpu()
                for name, value in vars(weights).items()
            },
        ),
        step_conditioning=problem.step_conditioning.cpu(),
        job_conditioning=problem.job_conditioning.cpu(),
        coefficients=problem.coefficients.cpu(),
        keys=problem.keys.cpu(),
    )
    error = float((x.cpu().double() - reference.denoise(host, torch.float64)).abs().mean())
    assert error < (1e-5 if precision == "fp32" else 0.02), error
    return error


@pytest.mark.parametrize(("width", "blocks"), _NETWORKS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_results(width: int, blocks: int, precision: str) -> None:
    check(width, blocks, precision)


def milliseconds(run: Callable[[], None]) -> float:
    """The fastest of a few runs, by the device's clock."""
    times = []
    for _ in range(_REPEATS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)


def product_rate(size: int = 8192) -> float:
    """FLOP/s of torch's large bf16 matrix product, the device's practical peak at the moment."""
    a = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    torch.mm(a, b)
    return 2 * size**3 / (milliseconds(lambda: torch.mm(a, b)) * 1e-3)


def rival(problem: DenoiseProblem, n: int) -> Callable[[], None]:
    """The loop with one compiled step, replayed as a CUDA graph by torch."""
    weights, conditioning = problem.weights, problem.job_conditioning[0, 0]
    shifts = problem.step_conditioning + conditioning
    rows = problem.coefficients.float()

    def step(x: Tensor, shift: Tensor, c: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            h = torch.nn.functional.linear(x, weights.input_weight, weights.input_bias)
            for b, expand in enumerate(weights.expand_weights):
                hidden = torch.nn.functional.silu(torch.nn.functional.linear(h, expand, shift[b]))
                h = h + torch.nn.functional.linear(
                    hidden, weights.contract_weights[b], weights.contract_biases[b]
                )
            eps = torch.nn.functional.linear(h, weights.output_weight, weights.output_bias)
        eps = eps.float()
        x0 = (x * c[0] - eps * c[1]).clamp(-1.0, 1.0)
        return x0 * c[2] + x * c[3] + c[4] * torch.randn_like(x)

    compiled = torch.compile(step, mode="max-autotune", fullgraph=True)

    @torch.no_grad()
    def run() -> None:
        x = torch.randn(n, _DIM, device="cuda")
        for shift, row in zip(shifts, rows, strict=True):
            torch.compiler.cudagraph_mark_step_begin()
            x = compiled(x, shift, row).clone()

    return run


def _flop(width: int, blocks: int) -> int:
    return 2 * (2 * _DIM * width + blocks * 4 * width * width)


def measure(width: int, blocks: int, n: int, steps: int) -> dict[str, float]:
    peak = product_rate()
    loop = prepare(width, blocks, n, steps, "bf16")
    exact = prepare(width, blocks, min(n, 16_384), steps, "fp32")
    problem, _, _ = make_problem(width, blocks, n, steps)
    other = rival(problem, n)
    for warm_up in (loop.launch, exact.launch, other):
        warm_up()
    ours, ours_fp32, theirs = (milliseconds(run) for run in (loop.launch, exact.launch, other))
    assert loop.diverged_step() == -1
    rate = _flop(width, blocks) * n * steps / (ours * 1e-3)
    return {
        "width": width,
        "blocks": blocks,
        "candidates": n,
        "steps": steps,
        "bf16_ms": ours,
        "fp32_ms": ours_fp32,
        "fp32_candidates": min(n, 16_384),
        "compiled_ms": theirs,
        "tflops": rate / 1e12,
        "of_product": rate / peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the CUDA reverse loop.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if _MISSING is not None:
        print(f"skipped: {_MISSING}")
        return
    for width, blocks in _NETWORKS:
        for precision in ("fp32", "bf16"):
            print(f"{width}x{blocks} {precision}: mean error {check(width, blocks, precision):.1e}")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.steps} steps\n")
    print("| network | candidates | bf16 ms | TFLOP/s | of bf16 product | fp32 ms | compiled ms | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for width, blocks in _NETWORKS:
        for n in _CANDIDATES:
            r = measure(width, blocks, n, arguments.steps)
            results.append(r)
            fp32 = f"{r['fp32_ms']:.2f}" + ("" if n <= 16_384 else " (16,384)")
            print(
                f"| {width}x{blocks} | {n} | {r['bf16_ms']:.2f} | {r['tflops']:.1f} | {r['of_product']:.0%} "
                f"| {fp32} | {r['compiled_ms']:.2f} | {r['compiled_ms'] / r['bf16_ms']:.1f} |"
            )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"device": torch.cuda.get_device_name(), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
