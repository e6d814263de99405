# SPDX-License-Identifier: Apache-2.0
"""What every baseline promises: both protocols, determinism, untouched global state, unkind histories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import diffhpo
from diffhpo.baselines import BASELINES
from diffhpo.errors import InputError

#: SMAC3 has tests of its own: it is not always installed, and slow.
NAMES = sorted(set(BASELINES) - {"smac"})
DETERMINED_BY_MODEL = ["gp", "deep-gp", "elites"]


def _quadratic(x: np.ndarray) -> np.ndarray:
    return -((x - np.array([0.3, 0.7])) ** 2).sum(axis=1)


def _history(n: int = 8, d: int = 2) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(5).random((n, d))
    return x, _quadratic(x) if d == 2 else x.sum(axis=1)


def _make(name: str, seed: int = 0):
    settings = {"steps": 60} if name == "deep-gp" else {}
    return BASELINES[name](seed=seed, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_both_protocols(name):
    x, y = _history()
    pool = np.random.default_rng(6).random((40, 2))
    copies = x.copy(), y.copy(), pool.copy()
    point = _make(name).observe_and_suggest(x, y)
    assert isinstance(point, np.ndarray)
    assert point.shape == (1, 2)
    assert point.dtype == np.float64
    assert ((point >= 0) & (point <= 1)).all()
    index = _make(name).observe_and_suggest(x, y.reshape(-1, 1), pool)
    assert isinstance(index, int)
    assert 0 <= index < 40
    for array, copy in zip((x, y, pool), copies, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize("name", NAMES)
def test_same_history_same_suggestion(name):
    x, y = _history()
    pool = np.random.default_rng(6).random((40, 2))
    kept = _make(name)
    for n in (5, 8):
        fresh = _make(name).observe_and_suggest(x[:n], y[:n])
        assert np.array_equal(kept.observe_and_suggest(x[:n], y[:n]), fresh)
        # A shorter or another history in between leaves no trace.
        kept.observe_and_suggest(x[:4], y[:4])
        assert np.array_equal(kept.observe_and_suggest(x[:n], y[:n]), fresh)
        chosen = _make(name).observe_and_suggest(x[:n], y[:n], pool)
        assert kept.observe_and_suggest(x[:n], y[:n], pool) == chosen


@pytest.mark.parametrize("name", NAMES)
def test_global_state_is_untouched(name):
    x, y = _history()
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    _make(name).observe_and_suggest(x, y)
    _make(name).observe_and_suggest(x, y, np.random.default_rng(6).random((40, 2)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


def test_a_fresh_process_suggests_the_same():
    x, y = _history()
    script = (
        "import json, sys, numpy as np\n"
        "from diffhpo.baselines import BASELINES\n"
        "x, y, names = json.load(sys.stdin)\n"
        "x, y = np.array(x), np.array(y)\n"
        "np.random.seed(11)\n"
        "print(json.dumps({n: BASELINES[n](seed=4).observe_and_suggest(x, y).tolist()\n"
        "                  for n in names}))\n"
    )
    environment = os.environ | {
        "PYTHONPATH": str(Path(diffhpo.__file__).parents[1]),
        "PYTHONHASHSEED": "77",
    }
    result = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([x.tolist(), y.tolist(), sorted(NAMES, reverse=True)]),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    there = json.loads(result.stdout)
    for name in NAMES:
        assert there[name] == BASELINES[name](seed=4).observe_and_suggest(x, y).tolist(), name


@pytest.mark.parametrize("name", NAMES)
def test_seeds_differ(name):
    # A converged model may answer alike whatever the seed; two trials leave room.
    x, y = _history(2)
    points = {tuple(_make(name, seed).observe_and_suggest(x, y)[0]) for seed in range(3)}
    assert len(points) > 1 or name == "gp"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.empty((0, 2)), []),
        ([[0.2, 0.3]], [1.0]),
        ([[0.2, 0.3]] * 6, [1.0] * 6),
        ([[0.2, 0.3]] * 6, [1.0, 2.0, 3.0, 2.0, 1.0, 0.0]),
        ([[0.1 * i, 0.2] for i in range(7)], [0.5] * 7),
        ([[0.1 * i, 0.2] for i in range(7)], [1e300, -1e300, 0, 1, 2, 3, 4]),
        ([[0.1 * i, 0.2] for i in range(7)], [1e-300 * i for i in range(7)]),
    ],
    ids=["empty", "one", "repeated", "noisy", "constant", "huge", "tiny"],
)
def test_unkind_histories(name, x, y):
    point = _make(name).observe_and_suggest(x, y)
    assert np.isfinite(point).all()
    assert ((point >= 0) & (point <= 1)).all()
    pool = np.random.default_rng(6).random((20, 2))
    assert 0 <= _make(name).observe_and_suggest(x, y, pool) < 20


@pytest.mark.parametrize("name", NAMES)
def test_pool_of_one_needs_no_model(name):
    method = _make(name)
    method._choose = None  # type: ignore[method-assign]
    assert method.observe_and_suggest(*_history(), [[0.5, 0.5]]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_named(name):
    x, y = _history()
    method = _make(name)
    with pytest.raises(InputError, match=r"y_obs\[2\] is nan"):
        method.observe_and_suggest(x, np.where(np.arange(8) == 2, np.nan, y))
    with pytest.raises(InputError, match="X_obs"):
        method.observe_and_suggest(x + 1, y)
    with pytest.raises(InputError, match="X_pen"):
        method.observe_and_suggest(x, y, np.empty((0, 2)))
    with pytest.raises(InputError, match="dimension"):
        method.observe_and_suggest([], [])
    with pytest.raises(InputError, match="seed"):
        BASELINES[name](seed=-1)


def _regret(name: str, trials: int, pool: np.ndarray | None = None) -> float:
    x = np.random.default_rng(1).random((5, 2))
    method = _make(name)
    for _ in range(trials):
        if pool is None:
            point = method.observe_and_suggest(x, _quadratic(x))
        else:
            index = method.observe_and_suggest(x, _quadratic(x), pool)
            point, pool = pool[[index]], np.delete(pool, index, axis=0)
        x = np.vstack([x, point])
    return -_quadratic(x).max()


def test_quadratic_is_optimised_better_than_at_random():
    random = _regret("random", 15)
    assert _regret("gp", 12) < 1e-3 < random / 10
    assert _regret("deep-gp", 15) < random / 2
    assert _regret("elites", 15) < random / 4


def test_sequential_samplers_improve_on_random():
    # Forty trials are little for either; the mean value of the later trials is what they raise.
    def mean_value(name):
        x = np.random.default_rng(1).random((5, 2))
        method = _make(name)
        for _ in range(40):
            x = np.vstack([x, method.observe_and_suggest(x, _quadratic(x))])
        return _quadratic(x[25:]).mean()

    random = mean_value("random")
    assert mean_value("tpe") > 0.75 * random
    assert mean_value("cma-es") > random / 2


@pytest.mark.parametrize("name", DETERMINED_BY_MODEL)
def test_best_of_a_pool_is_found(name):
    pool = np.random.default_rng(2).random((200, 2))
    assert _regret(name, 15, pool) <= np.sort(-_quadratic(pool))[3]


@pytest.mark.parametrize("name", DETERMINED_BY_MODEL)
def test_an_evaluated_point_is_not_suggested_again(name):
    # The optimum in a corner: the box constraint makes the very same point the maximum again and again.
    x = np.array([[0.0, 0.0], [0.3, 0.1], [0.1, 0.4], [0.8, 0.8], [0.5, 0.6], [0.05, 0.02]])
    for _ in range(3):
        point = _make(name).observe_and_suggest(x, -x.sum(axis=1))
        assert np.abs(x - point).max(axis=1).min() > 1e-8
        x = np.vstack([x, point])


def test_one_dimension():
    x = np.linspace(0, 1, 6).reshape(-1, 1)
    for name in NAMES:
        assert _make(name).observe_and_suggest(x, x[:, 0]).shape == (1, 1)
