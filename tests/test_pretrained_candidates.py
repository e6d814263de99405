# SPDX-License-Identifier: Apache-2.0
"""What the pretrained policy ranks, refines and chooses from, recomputed step by step."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import chisquare, kstest, norm, rankdata
from tests.quadratic_history import quadratic_history
from tests.untrained_model import untrained_model

from diffhpo import pretrained_policy
from diffhpo.history import History
from diffhpo.local_moves import LocalMoves
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.policy import derived_seed, initial_design
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.ranker import Ranker
from diffhpo.space import Float, Int, Space

POINTS = np.random.default_rng(5).random((40, 3))


@pytest.fixture(scope="module")
def model():
    return untrained_model().eval().requires_grad_(False)


def improvement(run, points):
    return run.log_improvement(torch.from_numpy(points)).double().numpy()


class Recorded(LocalMoves):
    """Moves, and what was asked of them."""

    made, moved = [], []

    def __init__(self, dim, **columns):
        super().__init__(dim, **columns)
        self.made.append(columns)

    def __call__(self, centres, deviation, rng):
        points = super().__call__(centres, deviation, rng)
        self.moved.append((centres, deviation, points, rng.bit_generator.seed_seq.generate_state(4)))
        return points


@pytest.fixture
def moved(monkeypatch):
    Recorded.made.clear()
    Recorded.moved.clear()
    monkeypatch.setattr(pretrained_policy, "LocalMoves", Recorded)
    return Recorded.moved


def test_candidates_are_samples_uniform_points_and_copies_of_the_best(model, moved):
    policy = PretrainedPolicy(model, seed=2, recipe={"generated": 5, "spread": 2000, "elites": 3000})
    seen = quadratic_history(30)
    run = policy.read(seen)
    x = policy.candidates(seen, run)
    assert x.shape == (5 + 2000 + 3000, 3)
    samples = run.generate(5, seed=derived_seed(2, 30, 0), steps=20)
    np.testing.assert_array_equal(x[:5], samples.double().numpy())
    assert kstest(x[5:2005].ravel(), "uniform").pvalue > 0.01

    ((centres, deviation, points, _),) = moved
    np.testing.assert_array_equal(x[2005:], points)
    best = seen.x[np.argsort(-seen.y)[:10]]
    ranks = cdist(centres, best).argmin(1)
    np.testing.assert_array_equal(centres, best[ranks])
    falling = 0.8 ** np.arange(10)
    assert chisquare(np.bincount(ranks, minlength=10), 3000 * falling / falling.sum()).pvalue > 0.01
    assert deviation.shape == (3000, 1)
    # Log-uniform between 0.005 and 0.3.
    assert kstest(np.log(deviation.ravel()), "uniform", (np.log(0.005), np.log(0.3 / 0.005))).pvalue > 0.01


@pytest.mark.parametrize(("wanted", "drawn"), [((), 5), ((1,), 5), ((2,), 8), ((9,), 36)])
def test_a_batch_draws_four_samples_of_each_place(model, wanted, drawn):
    policy = PretrainedPolicy(model, recipe={"generated": 5, "spread": 0, "elites": 0})
    assert len(policy.candidates(quadratic_history(6), policy.read(quadratic_history(6)), *wanted)) == drawn


def test_moves_know_the_columns(model, moved):
    space = Space({"a": Int(1, 4), "b": Float(0, 1)})
    columns = {"kinds": space.column_kinds, "names": space.column_names, "steps": space.column_steps}
    PretrainedPolicy(model, **columns).suggest(quadratic_history(6, dim=2), snap=space.snap)
    expected = {"kinds": list(columns["kinds"]), "steps": list(columns["steps"]), "parameters": ["a", "b"]}
    assert Recorded.made[0] == expected


def test_the_best_are_refined_ever_more_finely(model, moved):
    recipe = {"refined": 2000, "rank_with": "predictor"}
    policy, seen = PretrainedPolicy(model, recipe=recipe), quadratic_history(9)
    run = policy.read(seen)
    tried = policy.candidates(seen, run)
    moved.clear()
    chosen = policy.suggest(seen)
    elites, *rounds = moved
    assert len(rounds) == 2
    for (centres, deviation, points, stream), scale in zip(rounds, (0.1, 0.035), strict=True):
        best = tried[np.argsort(-improvement(run, tried), kind="stable")[:8]]
        np.testing.assert_array_equal(centres, np.tile(best, (250, 1)))
        assert deviation.shape == (2000, 1)
        assert kstest(np.log(deviation.ravel() / scale), norm.cdf).pvalue > 0.01
        assert not np.array_equal(stream, elites[3])
        tried = np.concatenate([tried, points])
    np.testing.assert_array_equal(chosen[0], tried[improvement(run, tried).argmax()])


def test_two_scorers_rank_the_candidates_alone(model, moved):
    policy, seen = PretrainedPolicy(model, recipe={"rank_with": "both"}), quadratic_history(9)
    run = policy.read(seen)
    x = policy.candidates(seen, run)
    moved.clear()
    chosen = policy.suggest(seen)
    assert len(moved) == 1
    scores = improvement(run, x), Ranker(seen, warp=True).scores(x)
    np.testing.assert_array_equal(chosen[0], x[np.mean([rankdata(score) for score in scores], 0).argmax()])


def test_a_gaussian_process_ranks_alone(model):
    policy, seen = PretrainedPolicy(model, recipe={"rank_with": "gp"}), quadratic_history(9)
    assert policy.choose(seen, POINTS) == Ranker(seen, warp=True).scores(POINTS).argmax()


def greedy(beliefs, waiting, count):
    """Each choice from new beliefs, one for each choice, that are told all that waits and was chosen."""
    chosen = []
    for make in beliefs[:count]:
        belief = make()
        for index in [*range(waiting), *chosen]:
            belief.believe(index)
        score = belief.log_improvement()
        score[[*range(waiting), *chosen]] = -torch.inf
        chosen.append(int(score.argmax()))
    return np.array(chosen) - waiting


@pytest.mark.parametrize("waiting", [0, 1, 5])
@pytest.mark.parametrize("wanted", [1, 2, 6])
@pytest.mark.parametrize("noisy", [True, False])
def test_a_batch_is_chosen_greedily_given_what_waits(model, monkeypatch, waiting, wanted, noisy):
    recipe = {"rank_with": "predictor", "refinements": 0, "pending_size": 3, "noisy": noisy}
    policy = PretrainedPolicy(model, recipe=recipe)
    pending = np.random.default_rng(8).random((waiting, 3))
    seen = quadratic_history(9, pending=pending)
    run = policy.read(seen)
    monkeypatch.setattr(policy, "candidates", lambda *_: POINTS)
    told = run.log_improvement(torch.from_numpy(pending), noisy=noisy).numpy()
    told = pending[np.argsort(-told, kind="stable")[:3]]
    both = torch.from_numpy(np.concatenate([told, POINTS]))
    expected = POINTS[greedy([lambda: run.belief(both, noisy=noisy)] * wanted, len(told), wanted)]
    np.testing.assert_array_equal(policy.suggest(seen, wanted), expected)


@pytest.mark.parametrize("rank_with", ["predictor", "gp", "both", "evidence"])
def test_a_single_suggestion_goes_elsewhere_than_what_waits(model, monkeypatch, rank_with):
    policy = PretrainedPolicy(model, recipe={"rank_with": rank_with, "refinements": 0, "noisy": False})
    monkeypatch.setattr(policy, "candidates", lambda *_: POINTS)
    best = policy.suggest(quadratic_history(9))
    assert not (policy.suggest(quadratic_history(9, pending=best + 1e-6)) == best).all()


def test_both_choose_a_batch_by_the_mean_of_their_ranks(model, monkeypatch):
    policy = PretrainedPolicy(model, recipe={"rank_with": "both"})
    monkeypatch.setattr(policy, "candidates", lambda *_: POINTS)
    seen = quadratic_history(9)
    gaussian_process = Ranker(seen, warp=True).belief(POINTS)
    chosen, beliefs = [], [policy.read(seen).belief(torch.from_numpy(POINTS)), gaussian_process]
    for _ in range(3):
        score = np.mean([rankdata(belief.log_improvement().double()) for belief in beliefs], axis=0)
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
        for belief in beliefs:
            belief.believe(chosen[-1])
    np.testing.assert_array_equal(policy.suggest(seen, 3), POINTS[chosen])


@pytest.mark.parametrize(("recipe", "refines"), [("predictor", 2), ("evidence", 2), ("gp", 2), ("both", 0)])
def test_a_batch_is_refined_where_the_scores_have_peaks(model, moved, recipe, refines):
    PretrainedPolicy(model, recipe={"rank_with": recipe}).suggest(quadratic_history(9), 2)
    assert len(moved) == 1 + refines


@pytest.mark.parametrize("rank_with", ["predictor", "evidence", "both"])
def test_candidates_that_nothing_tells_apart_are_chosen_once(model, monkeypatch, rank_with):
    policy = PretrainedPolicy(model, recipe={"rank_with": rank_with, "refinements": 0})
    alike = 0.4 + 1e-12 * np.arange(15).reshape(5, 3)
    monkeypatch.setattr(policy, "candidates", lambda *_: alike)
    x = policy.suggest(quadratic_history(9), 4)
    assert len(np.unique(x, axis=0)) == 4


def test_what_joint_leaves_are_the_models_samples(model):
    policy, seen = PretrainedPolicy(model, seed=4, recipe={"joint": 2}), quadratic_history(6)
    x = policy.suggest(seen, 9)
    samples = policy.read(seen).generate(7, seed=derived_seed(4, 6, 0, 2, 0), steps=20)
    np.testing.assert_array_equal(x[2:], samples.double().numpy())


@pytest.mark.parametrize(("trials", "wanted", "given"), [(1, 2, 2), (5, 9, 1)])
def test_no_samples_are_drawn_beyond_what_is_missing_or_there(model, monkeypatch, trials, wanted, given):
    """Neither where `joint` was enough, nor where the space has less than that."""
    space = Space({"a": Int(1, 3), "b": Int(1, 2)})
    policy = PretrainedPolicy(model, recipe={"joint": 2})
    monkeypatch.setattr(policy, "_drawn", None)
    seen = History(space.all_units()[:trials], np.arange(float(trials)))
    assert len(policy.suggest(seen, wanted, snap=space.snap)) == given


@pytest.mark.parametrize("size", [1, 2, 30])
def test_before_any_trial_the_pool_is_compared_with_the_first_design(model, size):
    policy = PretrainedPolicy(model, seed=3)
    target = initial_design(3, 1, start=0, seed=3)
    assert policy.choose(quadratic_history(0), POINTS[:size]) == cdist(POINTS[:size], target).argmin()


def test_a_pool_of_two_is_scored_after_one_trial(model):
    policy, seen = PretrainedPolicy(model, recipe={"rank_with": "predictor"}), quadratic_history(1)
    run = policy.read(seen)
    for pool in POINTS.reshape(20, 2, 3):
        assert policy.choose(seen, pool) == improvement(run, pool).argmax()


def test_a_pool_is_scored_in_chunks(model, monkeypatch):
    sizes, score = [], InContextModel.log_improvement

    def counted(run, x, **noise):
        sizes.append(len(x))
        return score(run, x, **noise)

    monkeypatch.setattr(InContextModel, "log_improvement", counted)
    PretrainedPolicy(model, recipe={"pool_chunk": 7, "rank_with": "predictor"}).choose(
        quadratic_history(5), POINTS
    )
    assert max(sizes) <= 7
    assert sum(sizes) == 40


@pytest.mark.parametrize("waiting", [0, 3])
def test_before_any_trial_the_design_continues_where_it_stopped(model, waiting):
    policy = PretrainedPolicy(model, seed=3)
    seen = History(np.empty((0, 2)), [], pending=initial_design(2, waiting, start=0, seed=3))
    design = initial_design(2, 4, start=waiting, seed=3)
    np.testing.assert_array_equal(policy.suggest(seen, 4), design)
    space = Space({"a": Int(1, 4), "b": Float(0, 1)})
    np.testing.assert_array_equal(policy.suggest(seen, 4, snap=space.snap), space.snap(design))
