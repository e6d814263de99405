# SPDX-License-Identifier: Apache-2.0
"""The synthetic prior and a bank of real tasks, drawn together."""

import pickle
from dataclasses import fields

import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.pretraining.source import MixedTasks, SyntheticTasks


@pytest.fixture(scope="module")
def bank_file(bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "bank.npz"
    bank.save(path)
    return str(path)


def assert_equal(one, other):
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right, field.name


@pytest.mark.parametrize(("share", "real"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_a_share_of_every_chunk_is_real(bank_file, share, real):
    draw = MixedTasks(3, bank_file, share)()
    for index in (0, 5):
        tasks = draw(index, 8, 64)
        assert len(tasks) == 8
        assert sum(origin.startswith("demo/") for origin in tasks.origins) == real


def test_without_real_tasks_it_is_the_synthetic_prior(bank_file):
    assert_equal(MixedTasks(3, bank_file, 0.0)()(2, 5, 64), SyntheticTasks(3)()(2, 5, 64))


def test_a_chunk_depends_on_seed_and_index_alone(bank_file):
    draw, again = MixedTasks(3, bank_file, 0.5)(), pickle.loads(pickle.dumps(MixedTasks(3, bank_file, 0.5)))()
    again(1, 4, 64)
    assert_equal(draw(2, 6, 64), again(2, 6, 64))
    for other in (draw(3, 6, 64), MixedTasks(4, bank_file, 0.5)()(2, 6, 64)):
        assert not torch.equal(draw(2, 6, 64).value, other.value)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_out_of_range_is_named(share):
    with pytest.raises(InputError, match=r"real_share is .* from 0 to 1 is needed"):
        MixedTasks(0, "bank.npz", share)
