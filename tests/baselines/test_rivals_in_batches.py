# SPDX-License-Identifier: Apache-2.0
"""Batches of the baselines, and the rivals that have no other file."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from diffhpo.baselines import BASELINES
from diffhpo.errors import InputError

BATCHED = ["random", "sobol", "tpe", "elites", "qlogei"]


def history(n: int = 8, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).random((n, d))
    return x, -((x - 0.3) ** 2).sum(1)


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_is_new_different_and_repeatable(name: str) -> None:
    x, y = history()
    batch = BASELINES[name](seed=4).suggest_batch(x, y.reshape(-1, 1), 4)
    assert batch.shape == (4, 3)
    assert batch.dtype == np.float64
    assert ((batch >= 0) & (batch <= 1)).all()
    assert len(np.unique(np.concatenate([x, batch]), axis=0)) == 12
    np.testing.assert_array_equal(batch, BASELINES[name](seed=4).suggest_batch(x, y, 4))
    if name not in ("qlogei",):  # it has few distinct maxima here
        assert not np.array_equal(batch, BASELINES[name](seed=5).suggest_batch(x, y, 4))


def test_a_batch_spreads_where_one_suggestion_would_repeat() -> None:
    x, y = history(12)
    for name in ("elites", "qlogei"):
        batch = BASELINES[name](seed=0).suggest_batch(x, y, 3)
        distance = np.linalg.norm(batch[:, None] - batch[None], axis=2)[np.triu_indices(3, 1)]
        assert distance.min() > 1e-3, name


def test_the_first_point_of_qlogei_is_near_that_of_the_gaussian_process() -> None:
    x, y = history(15, 2)
    first = BASELINES["qlogei"](seed=0).suggest_batch(x, y, 1)[0]
    single = BASELINES["gp"](seed=0).observe_and_suggest(x, y)[0]
    assert np.abs(first - single).max() < 0.05


def test_methods_without_batches_say_so() -> None:
    x, y = history()
    with pytest.raises(InputError, match="OptunaCMAES suggests one configuration at a time"):
        BASELINES["cma-es"](seed=0).suggest_batch(x, y, 2)
    with pytest.raises(InputError, match="count is 0"):
        BASELINES["random"](seed=0).suggest_batch(x, y, 0)
    with pytest.raises(InputError, match="X_obs is empty"):
        BASELINES["random"](seed=0).suggest_batch(x[:0], y[:0], 2)


def test_sobol_walks_along_one_sequence() -> None:
    x, y = history(6, 2)
    method = BASELINES["sobol"](seed=2)
    batch = method.suggest_batch(x, y, 3)
    for row in batch:
        point = method.observe_and_suggest(x, y)
        np.testing.assert_array_equal(point[0], row)
        x, y = np.concatenate([x, point]), np.append(y, 0.1 * len(y))


def test_smac_is_a_function_of_the_history() -> None:
    pytest.importorskip("smac")
    x, y = history(5, 2)
    root = logging.getLogger()
    settings = root.level, list(root.handlers)
    method = BASELINES["smac"](seed=1)
    for _ in range(2):
        known = x, y
        point = method.observe_and_suggest(*known)
        x = np.concatenate([x, point])
        y = -((x - 0.3) ** 2).sum(1)
    assert point.shape == (1, 2)
    np.testing.assert_array_equal(point, BASELINES["smac"](seed=1).observe_and_suggest(*known))
    assert (root.level, list(root.handlers)) == settings
