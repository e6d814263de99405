# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from tests.untrained_model import untrained_model

from diffhpo.model.network import NO_FLAG
from diffhpo.pretraining.episode import context_size, draw_episode
from diffhpo.pretraining.rollout import ASKED, INITIAL, LENGTH, roll_out
from diffhpo.pretraining.rollout_acquisition import PredictorAcquisition
from diffhpo.prior import PriorSampler


@pytest.fixture(scope="module")
def tasks():
    return PriorSampler(seed=1, max_dim=6).batch(0, 16, 256)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def places(tasks, rows):
    """Which of the tasks' points each of (B, n, D) rows is; the first of equals."""
    return (tasks.x.unsqueeze(1) == rows.unsqueeze(2)).all(-1).long().argmax(-1)


@pytest.mark.parametrize("trials", [0, 1, 5, 60])
def test_contexts_and_queries_are_points_of_the_functions(tasks, trials):
    episode = draw_episode(tasks, generator(), trials=trials)
    assert episode.context.x.shape[1] == trials
    seen, asked = places(tasks, episode.context.x), places(tasks, episode.query)
    for row in range(len(tasks)):
        if len(tasks.x[row].unique(dim=0)) < tasks.x.shape[1]:
            continue  # which of equal points was taken cannot be told
        y = tasks.y[row].double()
        # Values are standardised by the broad points: an affine map of the functions' own.
        values = torch.cat([episode.context.y[row], episode.query_y[row]]).double()
        own = y[torch.cat([seen[row], asked[row]])]
        fit = torch.linalg.lstsq(torch.stack([own, torch.ones_like(own)], 1), values).solution
        assert torch.allclose(own * fit[0] + fit[1], values, atol=1e-3 * float(values.abs().max()))
        assert fit[0] > 0
    assert len(episode.names[0].unique()) == episode.names.shape[1]


def test_the_optimum_is_never_in_a_context(tasks):
    for seed in range(5):
        episode = draw_episode(tasks, generator(seed), trials=50)
        best = tasks.value.gather(1, places(tasks, episode.context.x)).amax(1)
        assert bool((best < tasks.best_value).all())


def test_queries_do_not_tell_where_the_optimum_is(tasks):
    """Among points of one function that are equally near to the context, being asked for tells nothing.

    Checked where it would show: with an empty context every query is a broad point.
    """
    episode = draw_episode(tasks, generator(), trials=0)
    # A search may have come to a corner that is a broad point as well.
    same = (tasks.x.unsqueeze(1) == episode.query.unsqueeze(2)).all(-1)
    assert bool((same & tasks.broad.unsqueeze(1)).any(-1).all())


def test_flags_and_improvements(tasks):
    episode = draw_episode(tasks, generator(), trials=20, targets=16)
    told = episode.improve != NO_FLAG
    assert torch.equal(episode.improve[told], (episode.improvement[told] >= 0).long())
    assert 0.02 < (~told).float().mean() < 0.25
    assert torch.equal(episode.optimum.sum(1), torch.full((16,), 8))
    best = tasks.best_x.unsqueeze(1).expand(-1, 8, -1)
    assert torch.equal(episode.target[:, 8:], best)
    assert not bool((episode.tells & episode.optimum).any())


def test_greedy_contexts_are_better_than_broad_ones(tasks):
    means = []
    for seed in range(8):
        episode = draw_episode(tasks, generator(seed), trials=40)
        means.append(episode.context.y.mean(1))
    means = torch.stack(means).mean(1)
    assert means.mean() > 0.3  # broad points have mean 0


def test_sizes_of_contexts():
    sizes = [context_size(generator(seed), 100) for seed in range(2000)]
    assert min(sizes) == 0
    assert max(sizes) == 100
    assert 0.10 < sum(size < 4 for size in sizes) / 2000 < 0.20


def test_rollouts_are_runs_without_repeats(tasks):
    model = untrained_model().eval()
    runs = roll_out(PredictorAcquisition(model), tasks, generator())
    assert runs.order.shape == (16, LENGTH)
    for row in runs.order:
        assert len(row.unique()) == LENGTH
    assert bool(tasks.broad.gather(1, runs.order[:, :INITIAL]).all())
    # What was most wanted is what was evaluated next.
    assert torch.equal(runs.asked[:, INITIAL:, 0], runs.order[:, INITIAL:])
    again = roll_out(PredictorAcquisition(model), tasks, generator())
    assert torch.equal(runs.order, again.order)
    episode = draw_episode(tasks, generator(3), queries=32, rollouts=runs)
    n = episode.context.x.shape[1]
    assert INITIAL <= n < LENGTH
    wanted = tasks.x.gather(1, runs.asked[:, n].unsqueeze(-1).expand(-1, -1, tasks.x.shape[2]))
    assert torch.equal(episode.query[:, :ASKED], wanted)
    first = tasks.x.gather(1, runs.order[:, :n].unsqueeze(-1).expand(-1, -1, tasks.x.shape[2]))
    left = {tuple(row.tolist()) for row in first[0]}
    assert {tuple(row.tolist()) for row in episode.context.x[0]} == left
