# SPDX-License-Identifier: Apache-2.0
"""Time of the Predictor for N candidates and a context of n: `pytest bench/bench_predict.py`, after a check.

`python bench/bench_predict.py` prints it beside every rival that is installed, measured in turn with them on
one core: microseconds of processor time, and how many times longer each rival takes. A figure counts for the
machine and the hour it was taken on alone.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import pytest
import torch

import predictor_rivals
from diffhpo.kernels import attention, ops
from diffhpo.model.packed_attention import PackedPredictor
from diffhpo.model.predictor import Predictor

_CANDIDATES = (1, 64, 1024, 65536)
_CONTEXTS = (16, 64, 256, 1024)
_DIM = 16

Case = tuple[Predictor, PackedPredictor, torch.Tensor, torch.Tensor]


def make_case(candidates: int, n: int) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        predictor = Predictor(_DIM).eval()
        x, tokens = torch.rand(candidates, _DIM), torch.randn(n + 1, predictor.context_width)
    packed = PackedPredictor(predictor)
    return predictor, packed, x, tokens


def make_run(case: Case, isa: str) -> Callable[[], torch.Tensor]:
    _, packed, x, tokens = case
    weights, layout = packed.weights, packed.layout

    def run() -> torch.Tensor:
        return attention.predict(x, [len(x)], tokens, [len(tokens)], weights, layout, isa=isa, threads=1)

    return run


def check(case: Case, run: Callable[[], torch.Tensor]) -> None:
    """The result of what is about to be timed, against float64, on some of the candidates."""
    predictor, _, x, tokens = case
    some = slice(None, None, max(1, len(x) // 500))
    module = predictor_rivals.PredictorForward(predictor)
    with torch.no_grad():
        exact = copy.deepcopy(module).double()(x[some].double(), tokens.double())
        torchs = float((module(x[some], tokens).double() - exact).abs().mean())
    error = float((run()[some].double() - exact).abs().mean())
    assert error <= 2 * torchs + 1e-8, (error, torchs)


@pytest.mark.parametrize("isa", ops.native_isas(runnable=True))
@pytest.mark.parametrize("candidates", _CANDIDATES[:3])
@pytest.mark.parametrize("n", _CONTEXTS)
def test_predict(benchmark, isa: str, candidates: int, n: int) -> None:
    case = make_case(candidates, n)
    run = make_run(case, isa)
    check(case, run)
    benchmark(run)


def fastest(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Least processor time of one call of each, over about `seconds` in all.

    In turns of 20 calls or 2 ms each, so that a short one finds its own data and code in cache, as in a loop
    of suggestions.
    """
    times = dict.fromkeys(runs, float("inf"))
    end, turns = time.perf_counter() + seconds, 0
    while turns < 3 or time.perf_counter() < end:
        for name, run in runs.items():
            spent = 0.0
            for _ in range(20):
                start = time.process_time()
                run()
                taken = time.process_time() - start
                times[name] = min(times[name], taken)
                spent += taken
                if spent > 2e-3:
                    break
        turns += 1
    return times


def row(
    label: str, ours: Callable[[], object], module: torch.nn.Module, inputs: tuple, seconds: float
) -> str:
    """One line of the table: our time, and each rival's as a multiple of it."""
    runs: dict[str, Callable[[], object]] = {"ours": ours}
    missing = {}
    for name, run in predictor_rivals.rivals(module, inputs):
        if isinstance(run, str):
            missing[name] = run
        else:
            runs[name] = run
    times = fastest(runs, seconds)
    for name, reason in missing.items():
        print(f"<!-- {label} {name} left out: {reason} -->")
    ratios = {name: seconds / times["ours"] for name, seconds in times.items() if name != "ours"}
    least = min(ratios, key=ratios.__getitem__)
    cells = [f"{ratios[name]:.2f}" if name in ratios else "-" for name in predictor_rivals.RIVALS]
    return f"| {label} | {times['ours'] * 1e6:.1f} | {' | '.join(cells)} | {ratios[least]:.2f} ({least}) |"


def header(first: str) -> str:
    names = " | ".join(predictor_rivals.RIVALS)
    columns = len(predictor_rivals.RIVALS) + 2
    return f"| {first} | ours, us | {names} | fastest rival |\n|{'---|' * (columns + first.count('|') + 1)}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each line of the table")
    parser.add_argument("--contexts", type=int, nargs="+", default=_CONTEXTS)
    parser.add_argument("--candidates", type=int, nargs="+", default=_CANDIDATES)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    predictor_rivals.pin_to_one_core()
    isa = ops.native_isas(runnable=True)[-1]
    print(header("n | N"))
    for n in options.contexts:
        for candidates in options.candidates:
            case = make_case(candidates, n)
            run = make_run(case, isa)
            check(case, run)
            module = predictor_rivals.PredictorForward(case[0])
            print(row(f"{n} | {candidates}", run, module, case[2:], options.seconds), flush=True)


if __name__ == "__main__":
    main()
