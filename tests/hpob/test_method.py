# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from diffhpo.errors import InputError
from diffhpo.hpob.method import DiffusionHPO
from diffhpo.recipe import ELITE, Recipe

QUICK = Recipe(**{**vars(ELITE), "first_steps": 10, "warm_steps": 2, "candidates": 16})


def observed(count, dim=4):
    x = np.random.default_rng(0).random((count, dim))
    return x, x.sum(1, keepdims=True)


@pytest.mark.parametrize("recipe", [QUICK, "brief"])
def test_continuous_answers_reshape_as_the_official_handler_does(recipe):
    new_x = DiffusionHPO(seed=0, recipe=recipe).observe_and_suggest(*observed(5))
    assert new_x.reshape(-1, 4).shape == (1, 4)
    assert new_x.dtype == np.float64
    assert ((new_x >= 0) & (new_x <= 1)).all()


def test_discrete_answers_index_the_pool():
    x, y = observed(6)
    pool = np.random.default_rng(1).random((30, 4))
    index = DiffusionHPO(recipe=QUICK).observe_and_suggest(x, y, pool)
    pending = list(range(30))
    assert pending[index] == index
    assert DiffusionHPO(recipe=QUICK).observe_and_suggest(x, y, pool[:1]) == 0


def test_lists_are_taken_and_left_unchanged():
    x, y = [[0.1, 0.2], [0.3, 0.9], [0.5, 0.5]], [[0.1], [0.5], [0.2]]
    before = repr((x, y))
    DiffusionHPO(recipe=QUICK).observe_and_suggest(x, y)
    assert repr((x, y)) == before


@pytest.mark.parametrize(
    ("x", "y", "pool", "message"),
    [
        ([[0.1], [np.nan]], [1, 2], None, r"X_obs\[1, 0\]"),
        ([[0.1], [0.2]], [1, np.nan], None, r"y_obs\[1\]"),
        ([[0.1], [0.2]], [1], None, "y_obs has shape"),
        ([[0.1], [0.2]], [1, 2], [[1.5]], r"X_pen\[0, 0\]"),
        ([[0.1], [0.2]], [1, 2], [[0.5, 0.5]], "X_pen has 2 columns; 1"),
        ([[0.1], [0.2]], [1, 2], np.empty((0, 1)), "no pending"),
    ],
)
def test_bad_input_names_the_handlers_arguments(x, y, pool, message):
    with pytest.raises(InputError, match=message):
        DiffusionHPO(recipe=QUICK).observe_and_suggest(x, y, pool)
