# SPDX-License-Identifier: Apache-2.0
"""Time of a whole suggestion: `pytest bench/bench_suggest.py`; `python bench/bench_suggest.py` for a table.

A suggestion at history n is what a user waits for after telling trial n: the model's training on it, the
samples, the Gaussian process and the choice. Before it is timed it is checked: inside the cube, distinct, and
the same again.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from diffhpo.history import History
from diffhpo.history_policy import HistoryPolicy
from diffhpo.recipe import RECIPES

_DIM = 8
_HISTORIES = (5, 50, 500, 5000)


def make_history(n: int) -> History:
    """A quadratic bowl with noise."""
    rng = np.random.default_rng(n)
    x = rng.random((n, _DIM))
    return History(x, -((x - 0.3) ** 2).sum(axis=1) + 0.01 * rng.standard_normal(n))


def warmed(recipe: str, n: int) -> tuple[HistoryPolicy, History]:
    """A policy that has suggested at n - 1 trials, as in a run, and the history of n."""
    history = make_history(n)
    policy = HistoryPolicy(recipe, seed=0)
    policy.suggest(History(history.x[:-1], history.y[:-1]))
    return policy, history


def check(recipe: str, history: History) -> None:
    first = HistoryPolicy(recipe, seed=0).suggest(history, 2)
    assert first.shape == (2, _DIM)
    assert bool(((first >= 0) & (first <= 1)).all())
    assert not np.array_equal(first[0], first[1])
    assert np.array_equal(first, HistoryPolicy(recipe, seed=0).suggest(history, 2))


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("n", _HISTORIES)
def test_suggest(benchmark, recipe: str, n: int) -> None:
    check(recipe, make_history(n))
    benchmark.pedantic(
        lambda policy, history: policy.suggest(history), setup=lambda: (warmed(recipe, n), {}), rounds=3
    )


def main() -> None:
    torch.set_num_threads(1)
    print("| recipe | history | milliseconds |\n|---|---|---|")
    for recipe in sorted(RECIPES):
        for n in _HISTORIES:
            check(recipe, make_history(n))
            best = float("inf")
            for _ in range(3):
                policy, history = warmed(recipe, n)
                start = time.process_time()
                policy.suggest(history)
                best = min(best, time.process_time() - start)
            print(f"| {recipe} | {n} | {best * 1e3:.1f} |")


if __name__ == "__main__":
    main()
