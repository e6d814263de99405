# SPDX-License-Identifier: Apache-2.0
"""Time of a whole suggestion: `pytest bench/bench_suggest.py`; `python bench/bench_suggest.py` for a table.

A suggestion at history n is what a user waits for after telling trial n: what is learned from it, the
samples, the scores and the choice. Before it is timed it is checked: inside the cube, distinct, and the same
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from diffhpo.history import History
from diffhpo.history_policy import HistoryPolicy
from diffhpo.policy import Policy
from diffhpo.pretrained_policy import PretrainedPolicy

_DIM = 8
_HISTORIES = (5, 50, 200, 1000, 5000)
_COUNTS = (1, 32)
_NAMES = ("learning_rate", "max_depth", "subsample", "l2", "gamma", "dropout", "momentum", "batch_size")

POLICIES: dict[str, Callable[[], Policy]] = {
    "pretrained, names": partial(PretrainedPolicy, names=_NAMES),
    "pretrained": PretrainedPolicy,
    "elite": partial(HistoryPolicy, "elite"),
    "brief": partial(HistoryPolicy, "brief"),
}


def make_history(n: int) -> History:
    """A quadratic bowl with noise."""
    rng = np.random.default_rng(n)
    x = rng.random((n, _DIM))
    return History(x, -((x - 0.3) ** 2).sum(axis=1) + 0.01 * rng.standard_normal(n))


def warmed(name: str, n: int) -> tuple[Policy, History]:
    """A policy that has suggested at n - 1 trials, as in a run, and the history of n."""
    history = make_history(n)
    policy = POLICIES[name]()
    policy.suggest(History(history.x[:-1], history.y[:-1]))
    return policy, history


def check(name: str, history: History) -> None:
    first = POLICIES[name]().suggest(history, 2)
    assert first.shape == (2, _DIM)
    assert bool(((first >= 0) & (first <= 1)).all())
    assert not np.array_equal(first[0], first[1])
    assert np.array_equal(first, POLICIES[name]().suggest(history, 2))


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("n", _HISTORIES)
@pytest.mark.parametrize("count", _COUNTS)
def test_suggest(benchmark, name: str, n: int, count: int) -> None:
    check(name, make_history(n))
    benchmark.pedantic(
        lambda policy, history: policy.suggest(history, count), setup=lambda: (warmed(name, n), {}), rounds=3
    )


def main() -> None:
    torch.set_num_threads(1)
    print("| policy | history | ms for 1 | ms for 32 |\n|---|---|---|---|")
    for name in POLICIES:
        for n in _HISTORIES:
            check(name, make_history(n))
            cells = []
            for count in _COUNTS:
                best = float("inf")
                for _ in range(5):
                    policy, history = warmed(name, n)
                    start = time.process_time()
                    policy.suggest(history, count)
                    best = min(best, time.process_time() - start)
                cells.append(f"{best * 1e3:.1f}")
            print(f"| {name} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
