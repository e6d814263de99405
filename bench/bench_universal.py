# SPDX-License-Identifier: Apache-2.0
"""Time of the universal model's parts, native beside torch: `python bench/bench_universal.py`, after a check.

In one process on one thread, in turns; the processor time of the thread, so that others on the machine count
little. The Gaussian processes are in `condition` and `jointly` on both sides, and alone in the last line.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from diffhpo.model.universal import Dimensions, UniversalContext
from diffhpo.model.universal.executed_model import ExecutedModel
from diffhpo.pretrained import pretrained_model


def milliseconds(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of each, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            times[name].append(1e3 * (time.thread_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def context(batch: int, n: int, dim: int) -> UniversalContext:
    """A run; several are the same with parts held out."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(1, n, dim, generator=generator), torch.randn(1, n, generator=generator).double()
    mask = torch.ones(batch, n, dtype=torch.bool)
    if batch > 1:
        for row in range(batch):
            mask[row, row::batch] = False
    kinds = Dimensions.continuous(batch, dim)
    return UniversalContext(x.expand(batch, -1, -1), y.expand(batch, -1), mask, kinds)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--candidates", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = pretrained_model()
    executed = {name: ExecutedModel(model, name) for name in ("reference", "auto")}
    whole, parts = context(1, options.trials, options.dim), context(5, options.trials, options.dim)
    known = {name: one.condition(one.embed(whole)) for name, one in executed.items()}
    x = torch.rand(1, options.candidates, options.dim, generator=torch.Generator().manual_seed(1))
    predicted = [one.jointly(known[name], x)[0] for name, one in executed.items()]
    torch.testing.assert_close(predicted[1].means, predicted[0].means, rtol=0, atol=1e-3)
    points = model.predictor._points(known["reference"].embedding, known["reference"].space, x)[0]
    print("| part | torch ms | native ms | ratio |\n|---|---|---|---|")
    for part, make in (
        ("embed 1 context", lambda name: lambda: executed[name].embed(whole)),
        ("embed 5 contexts", lambda name: lambda: executed[name].embed(parts)),
        ("condition", lambda name: lambda: executed[name].condition(known[name].embedding)),
        ("jointly", lambda name: lambda: executed[name].jointly(known[name], x)),
        ("its processes alone", lambda name: lambda: known[name].processes.joint(points)),
    ):
        runs = {name: make(name) for name in executed}
        for run in runs.values():
            run()
        found = milliseconds(runs, options.rounds)
        ratio = found["reference"] / found["auto"]
        print(f"| {part} | {found['reference']:.2f} | {found['auto']:.2f} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
