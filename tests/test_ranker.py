# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.stats import qmc

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.ranker import Ranker, normal_scores


def bowl(x):
    return -((x - 0.6) ** 2).sum(1)


def history(count=12, **others):
    x = qmc.Sobol(2, rng=np.random.default_rng(0)).random(16)[:count]
    return History(x, bowl(x), **others)


def test_normal_scores_depend_on_the_order_alone():
    y = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(normal_scores(y), normal_scores(np.exp(5 * y)))
    assert stats.kstest(normal_scores(y), "norm").pvalue > 0.999
    assert (normal_scores(np.ones(4)) == 0).all()


@pytest.mark.parametrize("warp", [False, True])
def test_climb_beats_every_start_and_finds_the_bowl(warp):
    ranker = Ranker(history(), warp=warp)
    far = np.random.default_rng(1).random((20, 2)) * 0.3
    near = 0.5 + np.random.default_rng(2).random((20, 2)) * 0.3
    point = ranker.climb(far, near)
    assert point.shape == (2,)
    assert bowl(point[None])[0] > max(bowl(far).max(), -0.02)


def test_one_terrible_value_does_not_hide_the_differences_among_good_ones():
    x = history(15).x
    y = bowl(x)
    y[np.argmin(y)] = -1e6
    candidates = np.random.default_rng(3).random((300, 2))
    warped = candidates[Ranker(History(x, y), warp=True).choose(candidates, 1)[0]]
    assert np.linalg.norm(warped - 0.6) < 0.25


def test_a_batch_is_chosen_as_if_its_earlier_members_were_pending():
    candidates = np.random.default_rng(4).random((60, 2))
    batch = Ranker(history()).choose(candidates, 4)
    assert len(set(batch.tolist())) == 4
    for size in (1, 2, 3):
        rest = np.delete(np.arange(60), batch[:size])
        after = Ranker(history(pending=candidates[batch[:size]])).choose(candidates[rest], 1)
        assert rest[after[0]] == batch[size]


def test_failed_trials_repel():
    candidates = np.random.default_rng(4).random((200, 2))
    wanted = candidates[Ranker(history()).choose(candidates, 1)[0]]
    failed = wanted + np.random.default_rng(5).normal(size=(4, 2)) * 0.01
    avoided = candidates[Ranker(history(failed=failed.clip(0, 1))).choose(candidates, 1)[0]]
    assert np.linalg.norm(avoided - wanted) > 0.05


def test_a_climb_does_not_end_at_a_known_configuration():
    x = np.array([[0.0], [0.5], [1.0]])
    seen = History(x, [0.0, 1.0, 2.0])
    point = Ranker(seen).climb(np.array([[0.9], [0.95]]))
    assert not (point == x).all(axis=1).any()


def test_held_out_densities_are_those_of_a_process_without_the_trials():
    seen = history(12)
    ranker = Ranker(seen)
    model = ranker._model
    with torch.no_grad():
        x = torch.tensor(seen.x)
        covariance = model.covar_module(x).to_dense().numpy() + float(
            model.likelihood.noise.detach()
        ) * np.eye(12)
    mean = float(model.mean_module.constant.detach())
    z = (seen.y - seen.y.mean()) / seen.y.std(ddof=1)
    parts = [np.array([0, 3, 7]), np.array([1, 2, 4, 5]), np.array([6, 8, 9, 10, 11])]
    found = ranker.held_out_log_density(parts)
    for part in parts:
        rest = np.setdiff1d(np.arange(12), part)
        gain = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[np.ix_(rest, part)]).T
        centre = mean + gain @ (z[rest] - mean)
        variance = np.diag(covariance[np.ix_(part, part)] - gain @ covariance[np.ix_(rest, part)])
        # In the units of y, which were divided by their deviation.
        expected = stats.norm(centre, np.sqrt(variance)).logpdf(z[part]) - np.log(seen.y.std(ddof=1))
        np.testing.assert_allclose(found[part], expected, rtol=1e-5, atol=1e-6)


def test_improvements_count_in_the_units_of_the_values():
    points = np.random.default_rng(4).random((9, 2))
    small, large = Ranker(history()), Ranker(History(history().x, 1000 * history().y))
    np.testing.assert_allclose(small.scores(points) + np.log(1000), large.scores(points), rtol=1e-6)
    for ranker in (small, large):
        np.testing.assert_allclose(ranker.belief(points).log_improvement(), ranker.scores(points), rtol=1e-4)


def test_an_empty_history_is_refused():
    with pytest.raises(InputError, match="at least one"):
        Ranker(History(np.empty((0, 2)), []))
