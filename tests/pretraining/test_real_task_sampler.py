# SPDX-License-Identifier: Apache-2.0
"""Batches of real tasks have the prior's form and tell the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.pretraining import augmentation, real_task_sampler
from diffhpo.pretraining.real_task_sampler import RealTaskSampler
from diffhpo.pretraining.task_bank import TaskBank


@pytest.fixture(scope="module")
def sampler(bank):
    return RealTaskSampler(bank, seed=3)


def test_shapes_types_and_padding(sampler):
    tasks = sampler.batch(0, 24, points=100)
    D = int(tasks.dims.max())
    assert tasks.x.shape == (24, 100, D)
    assert tasks.y.shape == tasks.value.shape == (24, 100)
    assert tasks.best_x.shape == tasks.kinds.shape == tasks.roles.shape == (24, D)
    assert tasks.best_value.shape == (24,)
    assert len(tasks.origins) == len(tasks) == 24
    assert {tasks.x.dtype, tasks.y.dtype, tasks.value.dtype, tasks.best_x.dtype} == {torch.float32}
    assert {tasks.dims.dtype, tasks.kinds.dtype, tasks.roles.dtype} == {torch.int64}
    unused = torch.arange(D) >= tasks.dims[:, None]
    assert (tasks.kinds[unused] == 3).all()
    assert (tasks.kinds[~unused] < 3).all()
    assert (tasks.roles[unused] == 0).all()
    assert (tasks.best_x[unused] == 0).all()
    assert (tasks.x.transpose(1, 2)[unused] == 0).all()
    assert ((tasks.x >= 0) & (tasks.x <= 1)).all()
    for tensor in (tasks.y, tasks.value, tasks.best_value):
        assert torch.isfinite(tensor).all()


def test_a_batch_depends_on_seed_and_index_alone(bank, sampler):
    wanted = sampler.batch(5, 8, points=64)
    other = RealTaskSampler(bank, seed=3)
    other.batch(1, 4)
    again = other.batch(5, 8, points=64)
    for name in ("x", "y", "value", "dims", "kinds", "roles", "best_x", "best_value"):
        assert torch.equal(getattr(wanted, name), getattr(again, name)), name
    assert wanted.origins == again.origins
    assert not torch.equal(wanted.value, sampler.batch(6, 8, points=64).value)
    assert not torch.equal(wanted.value, RealTaskSampler(bank, seed=4).batch(5, 8, points=64).value)


@pytest.fixture
def no_random_columns(monkeypatch):
    """Without columns that are drawn anew for each point, equal points stay equal."""
    monkeypatch.setattr(augmentation, "P_IRRELEVANT", 0.0)
    monkeypatch.setattr(augmentation, "P_SPLIT", 0.0)


@pytest.mark.usefixtures("no_random_columns")
def test_the_best_is_the_best(sampler):
    few, all_points = sampler.batch(1, 64, points=50), sampler.batch(1, 64, points=256)
    assert (few.best_value >= few.value.amax(1)).all()
    # With as many points as the bank has, the best one is among them, and has the best value.
    torch.testing.assert_close(all_points.value.amax(1), all_points.best_value)
    here = (all_points.x == all_points.best_x[:, None]).all(2)
    assert here.any(1).all()
    for i in range(64):
        torch.testing.assert_close(
            all_points.value[i, here[i]], all_points.best_value[i].expand(int(here[i].sum()))
        )


def test_transforms_never_leave_a_constant(bank, monkeypatch):
    monkeypatch.setattr(real_task_sampler, "P_SHAPE_KEPT", 0.0)
    # Most points on a plateau at the top: clipping from below would leave only that.
    entry = bank.entries[0]
    low = np.isin(np.arange(256), np.flatnonzero(entry.broad)[:8])[:, None]
    crowded = replace(entry, values=np.where(low, entry.values, np.float32(5.0)))
    tasks = RealTaskSampler(TaskBank([crowded]), seed=0).batch(0, 200, points=256)
    for value, broad in zip(tasks.value, tasks.broad, strict=True):
        assert value[broad].std() > 1e-4 * (value.max() - value.min()) > 0


def test_half_of_the_draws_are_noisy_and_half_named(sampler):
    tasks = sampler.batch(2, 400, points=32)
    noisy = (tasks.y != tasks.value).any(1).float().mean()
    named = (tasks.roles > 0).any(1).float().mean()
    assert 0.4 < noisy < 0.6
    assert 0.35 < named < 0.6


@pytest.mark.usefixtures("no_random_columns")
def test_more_points_than_evaluations_repeat(sampler):
    tasks = sampler.batch(0, 2, points=700)
    assert tasks.x.shape[1] == 700
    assert len(torch.unique(tasks.x[0], dim=0)) <= 256


def test_every_family_is_drawn(sampler):
    origins = sampler.batch(3, 200, points=16).origins
    large = sum(origin.startswith("demo/large") for origin in origins) / 200
    assert 0.25 < large < 0.6


def test_weights_choose_families(bank):
    assert RealTaskSampler(bank, seed=0).families == ("demo/large", "demo/mixed")
    only = RealTaskSampler(bank, seed=0, weights={"demo/mixed": 0.0})
    assert all(origin.startswith("demo/large") for origin in only.batch(0, 50, points=16).origins)
    for wrong in ({"demo/other": 1.0}, {"demo/mixed": -1.0}, {"demo/mixed": 0.0, "demo/large": 0.0}):
        with pytest.raises(InputError, match="weights"):
            RealTaskSampler(bank, seed=0, weights=wrong)


def test_dimension_is_limited(bank):
    assert int(RealTaskSampler(bank, seed=0, max_dim=4).batch(0, 64, points=16).dims.max()) <= 4
    assert int(RealTaskSampler(bank, seed=0).batch(0, 64, points=16).dims.max()) > 4


def test_bad_arguments_are_named(bank, sampler):
    for wrong in (0, 33):
        with pytest.raises(InputError, match="max_dim"):
            RealTaskSampler(bank, seed=0, max_dim=wrong)
    with pytest.raises(InputError, match="seed"):
        RealTaskSampler(bank, seed=-1)
    with pytest.raises(InputError, match="index"):
        sampler.batch(-1, 4)
    with pytest.raises(InputError, match="size"):
        sampler.batch(0, 0)
    with pytest.raises(InputError, match="points"):
        sampler.batch(0, 4, points=0)
    with pytest.raises(InputError, match="bank"):
        TaskBank([])
