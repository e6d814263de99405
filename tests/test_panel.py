# SPDX-License-Identifier: Apache-2.0
"""How experts decide together, recomputed from what each says."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tests.quadratic_history import quadratic_history
from tests.untrained_model import untrained_model

from diffhpo import panel, pretrained_policy
from diffhpo.history import History
from diffhpo.model.universal.held_out import held_out_log_density
from diffhpo.panel import GaussianProcessExpert, Panel, PredictorExpert, panel_by_evidence
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.ranker import Ranker

POINTS = np.random.default_rng(5).random((40, 3))


@pytest.fixture(scope="module")
def model():
    return untrained_model().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def run(model):
    return PretrainedPolicy(model).read(quadratic_history(9))


@pytest.fixture
def experts(run):
    z = run.embedding.z[0].double().numpy()
    ranker = Ranker(History(quadratic_history(9).x, z))
    return [PredictorExpert(run, noisy=False), GaussianProcessExpert(ranker)], ranker


def expected_improvement(mean, deviation, best):
    u = (mean - best) / deviation
    return deviation * (u * norm.cdf(u) + norm.pdf(u))


def test_weighted_experts_decide_by_the_improvement_of_the_mixture(run, experts):
    mixture = run.mixture(torch.from_numpy(POINTS), noisy=False)
    best = float(run.best)
    weights, means, deviations = (
        part[0].double().numpy() for part in (mixture.log_weights.exp(), mixture.means, mixture.deviations)
    )
    predicted = (weights * expected_improvement(means, deviations, best)).sum(1)
    posterior = experts[1]._model.posterior(torch.from_numpy(POINTS))
    fitted = expected_improvement(
        posterior.mean.detach().numpy()[:, 0], posterior.variance.detach().sqrt().numpy()[:, 0], best
    )
    scores = Panel(experts[0], np.log([0.3, 0.7])).scores(POINTS)
    np.testing.assert_allclose(np.exp(scores), 0.3 * predicted + 0.7 * fitted, rtol=1e-4)


def test_a_weight_of_one_leaves_one_expert(experts):
    alone = Panel(experts[0][:1]).scores(POINTS)
    both = Panel(experts[0], np.array([0.0, -np.inf])).scores(POINTS)
    np.testing.assert_allclose(both, alone, rtol=1e-12)


def test_in_a_batch_each_chooses_in_proportion_to_its_weight(run, experts):
    makers = [lambda: run.belief(torch.from_numpy(POINTS), noisy=False), lambda: experts[1].belief(POINTS)]
    expected = []
    for turn in (0, 1, 0, 0):  # weights of .7 and .3
        belief = makers[turn]()
        for index in expected:
            belief.believe(index)
        score = belief.log_improvement().clone()
        score[expected] = -torch.inf
        expected.append(int(score.argmax()))
    chosen = Panel(experts[0], np.log([0.7, 0.3])).choose_batch(np.empty((0, 3)), POINTS, 4)
    assert chosen == expected
    assert chosen != Panel(experts[0], np.log([0.3, 0.7])).choose_batch(np.empty((0, 3)), POINTS, 4)


def test_a_single_choice_beside_what_waits_is_the_mixtures(run, experts):
    waiting = POINTS[:3] + 1e-3
    log_weights = np.log([0.4, 0.6])
    together = np.concatenate([waiting, POINTS])
    beliefs = [run.belief(torch.from_numpy(together), noisy=False), experts[1].belief(together)]
    for belief in beliefs:
        for index in range(3):
            belief.believe(index)
    said = [belief.log_improvement().double().numpy()[3:] for belief in beliefs]
    mixed = np.logaddexp(said[0] + log_weights[0], said[1] + log_weights[1])
    assert Panel(experts[0], log_weights).choose_batch(waiting, POINTS, 1) == [mixed.argmax()]


@pytest.mark.parametrize(
    ("count", "weighted", "peaks"), [(1, False, True), (2, True, True), (2, False, False)]
)
def test_ranks_have_no_peak(experts, count, weighted, peaks):
    assert Panel(experts[0][:count], np.log([0.5, 0.5]) if weighted else None).has_peaks == peaks


def test_the_evidence_is_what_both_say_of_held_out_trials(run, monkeypatch):
    seen, told = quadratic_history(9), []
    monkeypatch.setattr(panel, "log_weights", lambda densities: told.append(densities) or np.log([0.5, 0.5]))
    panel_by_evidence(run, seen, np.random.default_rng(0), noisy=True)
    (densities,) = told
    parts = panel.folds(9, np.random.default_rng(0))
    y = torch.tensor(seen.y)
    dimensions = run.embedding.context.dimensions
    expected = held_out_log_density(run.model, torch.tensor(seen.x), y, parts, dimensions)
    np.testing.assert_allclose(densities[0], expected)
    # Both count in units of y: the density of a value is that of its place on the scale, times dz/dy.
    scale = run.embedding.scale
    z = scale.standardise(y[None])[0]
    slope = (scale.standardise(y[None] + 1e-6)[0] - scale.standardise(y[None] - 1e-6)[0]) / 2e-6
    process = Ranker(History(seen.x, z.numpy())).held_out_log_density(parts)
    np.testing.assert_allclose(densities[1], process + slope.log().numpy(), rtol=1e-5, atol=1e-5)


def test_a_smooth_function_is_left_to_the_process(model):
    """The untrained Predictor knows no lengthscale: a quadratic of thirty trials is the process's."""
    seen = quadratic_history(30)
    decided = panel_by_evidence(
        PretrainedPolicy(model).read(seen), seen, np.random.default_rng(0), noisy=True
    )
    assert decided._log_weights[1] > np.log(0.99)


@pytest.mark.parametrize(("turn", "whose"), [(4, [PredictorExpert]), (5, [GaussianProcessExpert])])
def test_equal_values_are_no_evidence_and_the_two_take_turns(model, turn, whose):
    flat = History(quadratic_history(6).x, np.full(6, 0.3))
    run, rng = PretrainedPolicy(model).read(flat), np.random.default_rng(0)
    alone = panel_by_evidence(run, flat, rng, noisy=True, turn=turn)
    assert [type(expert) for expert in alone._experts] == whose
    together = panel_by_evidence(run, flat, rng, noisy=True)
    np.testing.assert_allclose(np.exp(together._log_weights), 0.5)
    # One value that differs is evidence.
    told = History(flat.x, np.append(flat.y[:-1], 0.4))
    assert len(panel_by_evidence(PretrainedPolicy(model).read(told), told, rng, noisy=True)._experts) == 2


def test_the_number_of_trials_that_are_known_and_awaited_is_the_turn(model, monkeypatch):
    turns = []

    def recorded(*arguments, turn, **others):
        turns.append(turn)
        return panel_by_evidence(*arguments, turn=turn, **others)

    monkeypatch.setattr(pretrained_policy, "panel_by_evidence", recorded)
    policy = PretrainedPolicy(model)
    policy.suggest(quadratic_history(6), 1)
    policy.suggest(quadratic_history(6, pending=POINTS[:3]), 1)
    policy.suggest(quadratic_history(6), 2)
    policy.choose(quadratic_history(7), POINTS)
    assert turns == [6, 9, None, 7]


@pytest.mark.parametrize("n", [1, 2, 3, 101, 320])
def test_any_number_of_trials_is_weighed(model, n):
    history = quadratic_history(n)
    policy = PretrainedPolicy(model, recipe={"context_size": 400, "generated": 4, "refinements": 0})
    assert policy.suggest(history, 2).shape == (2, 3)


def test_repeats_that_no_scale_tells_apart_are_weighed_once(model):
    x = np.repeat(quadratic_history(6).x, 2, axis=0)
    y = np.repeat(quadratic_history(6).y, 2)
    y[1::2] = np.nextafter(y[1::2], 1.0)
    assert PretrainedPolicy(model).suggest(History(x, y)).shape == (1, 3)
    y[:] = 1.0
    assert PretrainedPolicy(model).suggest(History(x, y)).shape == (1, 3)
