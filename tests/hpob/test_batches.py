# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffhpo.baselines import RandomSearch
from diffhpo.errors import InputError
from diffhpo.hpob import Benchmark, DiffusionHPO, evaluate_continuous
from diffhpo.hpob.batches import evaluate_batches


class Corners:
    """Suggests corners of the cube and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def suggest_batch(self, X_obs, y_obs, count):
        self.seen.append((X_obs.copy(), y_obs.copy()))
        X_obs[:], y_obs[:] = 7, 7  # its copies are its own
        return np.arange(count * X_obs.shape[1]).reshape(count, -1) % 2 * 1.0


def test_rounds_are_scored_as_single_trials_are(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("200", "7")
    method = Corners()
    run = evaluate_batches(method, task, "test0", rounds=3, batch=2)
    assert [len(y) for _, y in method.seen] == [5, 7, 9]
    assert run.x.shape == (11, 3)
    assert len(run.incumbents) == 4
    assert len(run.suggest_seconds) == 3
    low, high = task.y_min, task.y_max
    np.testing.assert_array_equal(run.y[5:], np.clip((task.surrogate(run.x[5:]) - low) / (high - low), 0, 1))
    assert run.incumbents == [run.y[: 5 + 2 * k].max() for k in range(4)]
    np.testing.assert_array_equal(method.seen[2][0], run.x[:9])


def test_batches_of_one_are_the_continuous_protocol(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    ours = evaluate_batches(RandomSearch(3), task, "test1", rounds=6, batch=1)
    single = evaluate_continuous(RandomSearch(3), task, "test1", 6, corrected=True)
    np.testing.assert_allclose(ours.incumbents, single.incumbents)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((1, 3)), r"\(2, 3\) is needed"),
        (np.full((2, 3), 1.1), "outside"),
        (np.full((2, 3), np.nan), "outside"),
        ("no", "no array of numbers"),
    ],
)
def test_bad_answers_are_refused(tiny_root: Path, answer: object, message: str) -> None:
    class Bad:
        def suggest_batch(self, X_obs, y_obs, count):
            return answer

    with pytest.raises(InputError, match=message):
        evaluate_batches(Bad(), Benchmark(tiny_root).task("200", "7"), "test0", rounds=1, batch=2)


def test_bad_numbers_and_methods_without_batches_are_refused(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    with pytest.raises(InputError, match="rounds is -1"):
        evaluate_batches(RandomSearch(), task, "test0", -1, 2)
    with pytest.raises(InputError, match="batch is 0"):
        evaluate_batches(RandomSearch(), task, "test0", 1, 0)
    with pytest.raises(InputError, match="object has no suggest_batch"):
        evaluate_batches(object(), task, "test0", 1, 2)  # type: ignore[arg-type]


def test_diffhpo_suggests_batches_and_takes_a_policy_by_name() -> None:
    method = DiffusionHPO(
        3, policy="diffhpo.history_policy:HistoryPolicy", policy_settings={"recipe": "brief"}
    )
    assert method.policy.recipe == DiffusionHPO(recipe="brief").policy.recipe  # type: ignore[attr-defined]
    x = np.random.default_rng(0).random((5, 2))
    assert DiffusionHPO(0).suggest_batch(x, x.sum(1), 3).shape == (3, 2)
    for name in ("nothing", "diffhpo.absent:A", "diffhpo.policy:Absent"):
        with pytest.raises(InputError, match="module:Class"):
            DiffusionHPO(policy=name)
