# SPDX-License-Identifier: Apache-2.0
"""Weights of predictors by what they say of held-out trials, and turns by weights."""

import numpy as np
import pytest
from scipy.special import log_softmax

from diffhpo.evidence import FOLDS, MOST_NATS, folds, log_weights, turns


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 23])
def test_every_trial_is_held_out_once(count):
    parts = folds(count, np.random.default_rng(1))
    assert len(parts) == min(count, FOLDS)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all((np.diff(part) > 0).all() for part in parts)


def test_folds_are_drawn():
    first, again, other = (folds(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))
    # Successive trials of a run are alike: no fold is a stretch of it.
    assert not any(np.array_equal(part, np.arange(part[0], part[0] + len(part))) for part in first)


def test_weights_are_the_posterior_of_which_predictor_is_right():
    densities = np.random.default_rng(0).normal(size=(3, 7))
    weights = log_weights(densities)
    np.testing.assert_allclose(weights, log_softmax(densities.sum(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(log_weights(densities + 100 * np.arange(7)), weights, rtol=1e-9)


def test_one_trial_counts_so_much_at_most():
    # Twelve trials speak for the second by 1 nat each, one for the first by a thousand.
    densities = np.zeros((2, 13))
    densities[1, :12], densities[0, 12] = 1.0, 1000.0
    assert log_weights(densities)[1] - log_weights(densities)[0] == pytest.approx(12 - MOST_NATS)


@pytest.mark.parametrize("worst", [-np.inf, -1e300])
def test_what_one_or_both_take_for_impossible_is_finite(worst):
    densities = np.array([[worst, -1.0, worst], [-1.0, -1.0, worst]])
    np.testing.assert_allclose(log_weights(densities), log_softmax([-MOST_NATS, 0.0]), rtol=1e-4)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_trials_tell_nothing(count):
    np.testing.assert_allclose(np.exp(log_weights(np.arange(2.0)[:, None][:, :count])), 0.5)
    assert log_weights(np.array([[0.0, 0.0], [1.0, 1.0]])) == pytest.approx(log_softmax([0.0, 2.0]))


def test_turns_follow_the_weights():
    rng = np.random.default_rng(3)
    for weights in rng.dirichlet([0.5, 0.5], 50):
        given = np.array(turns(weights, 64))
        for count in range(1, 65):
            assert abs((given[:count] == 0).sum() - count * weights[0]) < 1
    assert turns(np.array([0.5, 0.5]), 5) == [0, 1, 0, 1, 0]
    assert turns(np.array([1.0, 0.0]), 3) == [0, 0, 0]
    assert turns(np.array([0.0, 1.0]), 2) == [1, 1]
