# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.model import Sampler
from diffhpo.model.network import NO_FLAG


@pytest.fixture
def history():
    rng = np.random.default_rng(0)
    return History(rng.random((12, 3)), rng.permutation(12) / 11)


def draw(history, count=4000, **options):
    return Sampler(history, **options).draw(count, seed=1)


def value_of(history, x):
    distance = ((torch.tensor(history.x)[None] - x[:, None].double()) ** 2).sum(-1)
    assert distance.min(1).values.max() < 1e-12
    return torch.tensor(history.y)[distance.argmin(1)]


@pytest.mark.parametrize("balanced", [False, True])
def test_the_flag_is_one_exactly_if_no_member_is_better(history, balanced):
    batch = draw(history, balanced=balanced)
    y = value_of(history, batch.x)
    for row in range(500):
        members = batch.context.y[row][batch.context.mask[row]]
        assert batch.improve[row].item() == int(not (members > y[row]).any())


def test_plain_draws_are_uniform_over_queries_sizes_and_timesteps(history):
    batch = draw(history, count=24000)
    _, counts = value_of(history, batch.x).unique(return_counts=True)
    assert len(counts) == 12
    assert (counts - 2000).abs().max() < 6 * 2000**0.5
    sizes = batch.context.mask.sum(1).bincount(minlength=13)
    # Binomial(12, u) with u uniform has every size equally often.
    assert (sizes - 24000 / 13).abs().max() < 6 * (24000 / 13) ** 0.5
    assert batch.t.min() == 0
    assert batch.t.max() == 999
    assert abs(batch.t.double().mean().item() - 499.5) < 6 * 289 / 24000**0.5


def test_balanced_draws_have_both_flags_often(history):
    plain, balanced = draw(history), draw(history, balanced=True)
    assert plain.improve.float().mean() < 0.4
    assert 0.5 <= balanced.improve.float().mean() < 0.75


def test_greed_weighs_queries_by_rank(history):
    y = value_of(history, draw(history, count=60000, greed=3.0).x)
    expected = np.exp(3 * np.arange(12) / 11)
    expected /= expected.sum()
    counts = np.array([(y - value).abs().lt(1e-9).sum().item() for value in np.sort(history.y)])
    assert np.abs(counts / 60000 - expected).max() < 0.008


def test_exclude_query_keeps_a_trial_out_of_its_own_context(history):
    batch = draw(history, exclude_query=True)
    y = value_of(history, batch.x)
    assert not (batch.context.mask & (batch.context.y == y[:, None])).any()
    batch = draw(history)
    y = value_of(history, batch.x)
    assert (batch.context.mask & (batch.context.y == y[:, None])).any()


def test_jitter_moves_the_stated_share_by_the_stated_amount():
    history = History(np.full((2, 1), 0.5), [0.0, 1.0])
    moved = draw(history, jitter=0.2, jitter_share=0.7).x[:, 0] - 0.5
    assert abs((moved != 0).float().mean().item() - 0.7) < 0.04
    assert moved[moved != 0].std().item() == pytest.approx(0.1, rel=0.08)  # .2 on [-1, 1] is .1 on [0, 1]


def test_jitter_stays_in_the_cube_and_piles_up_nowhere(history):
    x = draw(History([[0.0], [1.0]], [0.0, 1.0]), jitter=1.0).x
    assert x.min() >= 0
    assert x.max() <= 1
    assert (x == 0).float().mean() < 0.001


def test_flag_dropout_withholds_the_stated_share(history):
    batch = draw(history, flag_dropout=0.15)
    assert abs((batch.improve == NO_FLAG).float().mean().item() - 0.15) < 0.03


def test_same_generator_state_same_batch(history):
    a, b = draw(history, jitter=0.1), draw(history, jitter=0.1)
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.context.mask, b.context.mask)
    assert torch.equal(a.t, b.t)


@pytest.mark.parametrize(
    "options",
    [{"greed": -1.0}, {"jitter": -0.1}, {"jitter_share": 1.5}, {"flag_dropout": -0.1}, {"timesteps": 0}],
)
def test_bad_options_are_named(history, options):
    with pytest.raises(InputError, match=next(iter(options))):
        Sampler(history, **options)


def test_an_empty_history_is_refused():
    with pytest.raises(InputError, match="history is empty"):
        Sampler(History(np.empty((0, 2)), []))
