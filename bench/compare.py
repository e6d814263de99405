# SPDX-License-Identifier: Apache-2.0
"""The reverse loop against every other way to run it that is installed: `python bench/compare.py --help`.

All of them run in one process that is pinned to one core, take turns, and stand beside the core's own
multiply-add peak, measured in the same turns, in processor time. Before anything is timed its result is held
against float64 (with DDIM, where there is no noise to differ in), that of diffusers up to 64 candidates only.
A rival that is not installed is named as skipped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Before JAX and torch are imported: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import torch

import denoise_rivals
from denoise_rivals import RIVALS, Loop
from diffhpo.kernels import ops, reference
from diffhpo.kernels.problem import DenoiseProblem
from diffhpo.model import Denoiser, Network, NoiseSchedule
from diffhpo.model.packed_network import PackedNetwork
from diffhpo.model.reverse_process import ReverseProcess

_DIM = 16
_CONTEXT = 32
_SCHEDULE = NoiseSchedule.linear(1000)
#: Steps of a timed loop: all 1000 where that takes less than a second.
_STEPS = {1: 1000, 8: 1000, 64: 1000, 1024: 100, 16384: 10}
#: Processor time of the whole process: elapsed time on an idle core, and blind to what else the machine does.
clock = time.process_time


def make_network(width: int, blocks: int) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(_DIM, width=width, blocks=blocks, context_width=_CONTEXT)


def make_problem(network: Network, n: int, process: ReverseProcess) -> DenoiseProblem:
    packed = PackedNetwork(network)
    packed.refresh()
    return packed.problem(process, [1], [torch.linspace(-1, 1, _CONTEXT)], [n], [0], [0], 0.0, True)


def make_loop(network: Network, n: int, steps: int, method: str) -> Loop:
    process = ReverseProcess.of(_SCHEDULE, steps, method)
    problem = make_problem(network, n, process)
    weights = problem.weights
    return Loop(
        tuple(zip(weights.expand_weights, weights.contract_weights, weights.contract_biases, strict=True)),
        weights.input_weight,
        weights.input_bias,
        weights.output_weight,
        weights.output_bias,
        problem.step_conditioning + problem.job_conditioning[0, 0],
        problem.coefficients.float(),
        process.timesteps.tolist(),
        reference.noise(0, range(n), len(_SCHEDULE), _DIM),
        method == "ddpm",
    )


def ours(network: Network, n: int, steps: int, method: str, precision: str) -> Callable[[], np.ndarray]:
    """The call that a user makes: Denoiser.sample."""
    denoiser = Denoiser(network, _SCHEDULE)
    context = torch.linspace(-1, 1, _CONTEXT)

    def run() -> np.ndarray:
        x = denoiser.sample(
            context, n, steps=steps, method=method, executor="cpu", threads=1, precision=precision
        )
        return (2 * x - 1).numpy()

    return run


def exact(network: Network, n: int, steps: int) -> np.ndarray:
    problem = make_problem(network, n, ReverseProcess.of(_SCHEDULE, steps, "ddim"))
    return reference.denoise(problem, torch.float64).numpy()


def peak(isa: str) -> float:
    """FLOP/s of multiply-adds on registers, this moment."""
    start = clock()
    done = ops.multiply_add(20_000, isa=isa)  # a millisecond: the call itself must not count
    return done / (clock() - start)


def contestants(
    network: Network, n: int, steps: int, names: list[str]
) -> dict[str, Callable[[], np.ndarray]]:
    """Those that agree with float64; builds and checks each."""
    isa = ops.native_isas(runnable=True)[-1]
    runs: dict[str, Callable[[], np.ndarray]] = {}
    checked = 1000 if n <= 64 else steps  # diffusers' DDIM knows equal strides alone
    truth = exact(network, n, checked)
    for precision in ops.precisions(isa):
        name = "diffhpo" if precision == "fp32" else f"diffhpo {precision}"
        _check(
            name, ours(network, n, checked, "ddim", precision)(), truth, 1e-3 if precision == "fp32" else 0.1
        )
        runs[name] = ours(network, n, steps, "ddpm", precision)
    for name in names:
        if name == "diffusers" and checked != 1000:
            checked_loop = None
        else:
            checked_loop = make_loop(network, n, checked, "ddim")
        try:
            if checked_loop is not None:
                _check(name, RIVALS[name][0](checked_loop)(), truth, 1e-3)
            runs[name] = RIVALS[name][0](make_loop(network, n, steps, "ddpm"))
        except Exception as error:  # a rival that breaks is reported, not hidden
            print(
                f"skipped {name} at {n} candidates: {type(error).__name__}: {str(error)[:200]}",
                file=sys.stderr,
            )
    return runs


def _check(name: str, result: np.ndarray, truth: np.ndarray, bound: float) -> None:
    error = float(np.abs(result - truth).mean())
    if not error <= bound:
        raise SystemExit(f"{name} is wrong: mean error {error} against float64")


def measure(runs: dict[str, Callable[[], np.ndarray]], seconds: float) -> tuple[dict[str, float], float]:
    """Best time of every contestant, in turns, and the best peak of the same turns."""
    isa = ops.native_isas(runnable=True)[-1]
    for run in runs.values():
        run()
    best, top = dict.fromkeys(runs, float("inf")), 0.0
    end, rounds = clock() + seconds, 0
    while rounds < 3 or clock() < end:
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
        top = max(top, peak(isa))
        rounds += 1
    return best, top


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["64x2", "128x4"], metavar="WIDTHxBLOCKS")
    parser.add_argument("--candidates", nargs="+", type=int, default=list(_STEPS))
    parser.add_argument("--rivals", nargs="+", default=list(RIVALS), choices=list(RIVALS), metavar="RIVAL")
    parser.add_argument("--seconds", type=float, default=8.0, help="of turns for each row")
    parser.add_argument("--json", type=Path, help="also write the measurements to this file")
    parser.add_argument("--figure", type=Path, help="also draw them into this file")
    parser.add_argument("--redraw", type=Path, help="measure nothing: table and figure of this JSON file")
    arguments = parser.parse_args()
    stored = arguments.redraw
    rows = json.loads(stored.read_text())["rows"] if stored else measure_all(arguments)
    print(table(rows))
    if arguments.figure:
        figure(rows, arguments.figure)


def measure_all(arguments: argparse.Namespace) -> list[dict]:
    """A row for every network and number of candidates."""

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    torch.set_num_threads(1)
    for name in arguments.rivals:
        if denoise_rivals.missing(name):
            print(
                f"skipped {name}: not installed: {', '.join(denoise_rivals.missing(name))}", file=sys.stderr
            )
    names = [name for name in arguments.rivals if not denoise_rivals.missing(name)]

    rows = []
    for network_name in arguments.networks:
        width, blocks = map(int, network_name.split("x"))
        network = make_network(width, blocks)
        flop = 2 * (2 * _DIM * width + 4 * blocks * width * width)
        for n in arguments.candidates:
            steps = _STEPS.get(n, 100)
            best, top = measure(contestants(network, n, steps, names), arguments.seconds)
            row = {"network": network_name, "candidates": n, "steps": steps, "peak_gflops": top / 1e9}
            row["microseconds_per_step"] = {name: value / steps * 1e6 for name, value in best.items()}
            row["share_of_peak"] = flop * n * steps / best["diffhpo"] / top
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    if arguments.json:
        machine = {
            "processor": _processor(),
            "date": datetime.date.today().isoformat(),
            "torch": torch.__version__,
        }
        machine["isa"] = ops.native_isas(runnable=True)[-1]
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    return rows


def table(rows: list[dict]) -> str:
    """Microseconds per step of ours, share of peak, and every other time as a multiple of ours."""
    names = [name for name in rows[0]["microseconds_per_step"] if name != "diffhpo"]
    lines = ["| network | candidates | diffhpo, us per step | of peak | " + " | ".join(names) + " |"]
    lines.append("|---|---|---|---|" + "---|" * len(names))
    for row in rows:
        times = row["microseconds_per_step"]
        others = [f"{times[name] / times['diffhpo']:.2f}x" if name in times else "-" for name in names]
        lines.append(
            f"| {row['network']} | {row['candidates']} | {times['diffhpo']:.2f} | "
            f"{row['share_of_peak']:.0%} | "
            f"{' | '.join(others)} |"
        )
    return "\n".join(lines)


def figure(rows: list[dict], path: Path) -> None:
    """Time per step and candidate over candidates, one panel for each network, beside the core's peak."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    drawing = Figure(figsize=(5.2 * len(networks), 4.6), layout="constrained")
    for axes, network in zip(drawing.subplots(1, len(networks), squeeze=False)[0], networks, strict=True):
        of_network = [row for row in rows if row["network"] == network]
        for name in of_network[0]["microseconds_per_step"]:
            points = [
                (row["candidates"], row["microseconds_per_step"][name] / row["candidates"])
                for row in of_network
                if name in row["microseconds_per_step"]
            ]
            ours = name.startswith("diffhpo")
            style = {"linewidth": 2.2 if ours else 1.1, "marker": "o", "markersize": 3}
            axes.plot(*zip(*points, strict=True), label=name, **style)
        floor = [
            row["microseconds_per_step"]["diffhpo"] / row["candidates"] * row["share_of_peak"]
            for row in of_network
        ]
        axes.plot(
            [row["candidates"] for row in of_network], floor, "k:", linewidth=1, label="fp32 peak of the core"
        )
        axes.set(xscale="log", yscale="log", xlabel="candidates", title=f"residual MLP {network}, d = {_DIM}")
    drawing.axes[0].set_ylabel("microseconds per step and candidate, one core")
    drawing.axes[-1].legend(frameon=False, fontsize=8)
    drawing.savefig(path, dpi=150)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
