# SPDX-License-Identifier: Apache-2.0
"""Columns on a linear axis whose first trials spread over decades, and how the policy searches them."""

import numpy as np
import pytest
from scipy.integrate import quad
from tests.untrained_model import untrained_model

from diffhpo import log_axes
from diffhpo.history import History
from diffhpo.log_axes import LOG_RATIOS, LogAxes, log_ratio
from diffhpo.pretrained_policy import PretrainedPolicy

#: Values of a regularisation from 1e-3 to 1e3 that were drawn by their logarithm, on a linear axis.
DECADES = np.array([1e-5, 0.004, 0.3, 2e-4, 0.03])


@pytest.fixture(scope="module")
def model():
    return untrained_model().eval().requires_grad_(False)


def history(n=9):
    """Two columns; the first trials of the second spread over decades."""
    rng = np.random.default_rng(3)
    x = rng.random((n, 2))
    x[:5, 1] = DECADES
    return History(x, -((x[:, 0] - 0.3) ** 2) - 0.1 * np.abs(np.log10(x[:, 1]) + 3), pending=x[:1] / 2)


@pytest.mark.parametrize("ratio", LOG_RATIOS)
def test_the_map_is_the_distribution_whose_density_is_the_evidence(ratio, monkeypatch):
    axes = LogAxes(history())
    monkeypatch.setattr(axes, "_ratios", np.array([ratio]))
    v = np.linspace(0, 1, 7)[:, None]
    u = axes.inward(v)
    assert u[0] == 0
    assert u[-1] == pytest.approx(1)
    np.testing.assert_allclose(axes.outward(u), v, rtol=1e-12, atol=1e-15)
    # p(v) of the docstring, integrated.
    span = np.expm1(ratio)
    for place, reached in zip(v[1:, 0], u[1:, 0], strict=True):
        breaks = [value for value in (1e-6, 1e-4, 1e-2) if value < place]
        mass, _ = quad(lambda t: span / (ratio * (1 + t * span)), 0, place, points=breaks)
        assert reached == pytest.approx(mass, rel=1e-6)


def test_uniform_values_are_left_and_decades_are_seen():
    rng = np.random.default_rng(0)
    assert np.mean([log_ratio(rng.random(5)) > 0 for _ in range(4000)]) < 0.015
    decades = [log_ratio(10 ** rng.uniform(-4, 0, 5)) > 0 for _ in range(2000)]
    assert np.mean(decades) > 0.95
    # Crowded at the upper end: on a logarithmic axis, and drawn on a linear one. It stays there.
    assert np.mean([log_ratio(1 + np.log10(rng.random(5)) / 4) > 0 for _ in range(2000)]) == 0


def test_values_at_the_bounds_tell_nothing():
    assert log_ratio(np.array([0.0, 0.0, 0.0, 1e-5, 1e-4])) == 0
    assert log_ratio(np.array([0.0, 1.0, 1e-3, 1e-5, 1e-4])) == log_ratio(np.array([1e-3, 1e-5, 1e-4])) > 0
    assert log_ratio(np.array([])) == 0
    # The same value many times is one value.
    assert log_ratio(np.array([1e-5] * 9 + [1e-4] * 9)) == 0


def test_the_first_trials_alone_tell_the_axes():
    x = np.concatenate(
        [np.random.default_rng(1).random((5, 1)), np.full((40, 1), 1e-4) * np.arange(1, 41)[:, None]]
    )
    assert not LogAxes(History(x, np.arange(45))).any
    assert LogAxes(History(x[5:], np.arange(40))).any


def test_evidence_and_ratio_are_those_of_the_density():
    rng = np.random.default_rng(2)
    ratios = np.array(LOG_RATIOS)
    for _ in range(200):
        values = 10 ** rng.uniform(-3 * rng.random(), 0, 5)
        densities = np.expm1(ratios) / (ratios * (1 + values[:, None] * np.expm1(ratios)))
        likelihoods = densities.prod(axis=0)
        expected = ratios[likelihoods.argmax()] if np.log(likelihoods.mean()) > log_axes.EVIDENCE else 0.0
        assert log_ratio(values) == expected


def test_five_trials_are_the_first():
    x = np.array([0.5, 0.02, 0.3, 0.6, 0.0001, 0.7, 0.8])[:, None]
    assert [log_ratio(x[:count, 0]) > 0 for count in (4, 5, 7)] == [False, True, False]
    assert LogAxes(History(x, np.arange(7))).any
    assert not LogAxes(History(x[:4], np.arange(4))).any


def test_all_parts_of_a_history_are_moved():
    seen = History([[0.5, 0.1]], [1.0], failed=[[0.2, 0.01]], pending=[[0.7, 0.001]])
    axes = LogAxes(history())
    moved = axes.of(seen)
    for part, before in ((moved.x, seen.x), (moved.failed, seen.failed), (moved.pending, seen.pending)):
        np.testing.assert_array_equal(part[:, 0], before[:, 0])
        assert (part[:, 1] > before[:, 1]).all()
        np.testing.assert_allclose(axes.outward(part), before, rtol=1e-12)
    np.testing.assert_array_equal(moved.y, seen.y)


@pytest.mark.parametrize("names", [None, ["learning_rate", "lambda"]])
@pytest.mark.parametrize("count", [1, 3])
def test_the_policy_searches_on_the_axes_and_suggests_on_the_callers(model, names, count):
    seen, axes = history(), LogAxes(history())
    inside = PretrainedPolicy(model, seed=4, names=names, recipe={"log_axes": False})
    suggested = PretrainedPolicy(model, seed=4, names=names).suggest(seen, count)
    np.testing.assert_array_equal(suggested, axes.outward(inside.suggest(axes.of(seen), count)))
    assert not np.array_equal(suggested, inside.suggest(seen, count))


def test_the_policy_chooses_from_a_pool_on_the_axes(model, monkeypatch):
    seen, axes = history(), LogAxes(history())
    pool = np.random.default_rng(6).random((50, 2))
    inside = PretrainedPolicy(model, seed=4, recipe={"log_axes": False})
    wanted = inside.choose(axes.of(seen), axes.inward(pool))
    assert PretrainedPolicy(model, seed=4).choose(seen, pool) == wanted
    moved = []
    monkeypatch.setattr(LogAxes, "inward", lambda self, x: moved.append(len(x)) or x)
    PretrainedPolicy(model, seed=4).choose(seen, pool)
    assert 50 in moved


def test_a_snap_sees_the_callers_axes(model):
    def tenths(points):
        seen.append(points)
        return points.round(1)

    seen = []
    suggested = PretrainedPolicy(model, seed=4).suggest(history(), 2, snap=tenths)
    np.testing.assert_allclose(suggested, suggested.round(1), atol=1e-12)
    assert np.concatenate(seen)[:, 1].min() < 1e-3


@pytest.mark.parametrize("settings", [{"kinds": [0, 0]}, {"recipe": {"log_axes": False}}])
def test_a_space_that_is_told_and_a_user_who_forbids_it_are_obeyed(model, settings, monkeypatch):
    monkeypatch.setattr(log_axes, "log_ratio", lambda values: pytest.fail("the axes were read"))
    assert PretrainedPolicy(model, seed=4, **settings).suggest(history(), 1).shape == (1, 2)
