# SPDX-License-Identifier: Apache-2.0
"""Held-out densities in one call against a context read for each fold."""

import numpy as np
import pytest
import torch
from tests.untrained_model import untrained_model

from diffhpo.model.universal.dimensions import CATEGORICAL, Dimensions
from diffhpo.model.universal.held_out import held_out_log_density
from diffhpo.model.universal.in_context import InContextModel


@pytest.fixture(scope="module")
def model():
    return untrained_model().eval().requires_grad_(False)


def trials(n, d=3):
    rng = np.random.default_rng(n)
    x = torch.tensor(rng.random((n, d)))
    return x, torch.tensor(100 * rng.normal(size=n) - 7)


def one_by_one(model, x, y, folds, kinds, roles):
    out = torch.empty(len(y), dtype=torch.float64)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(y)), fold)
        run = InContextModel(model, x[rest], y[rest], kinds=kinds, roles=roles)
        out[fold] = run.predict(x[fold]).log_prob(y[fold])
    return out


@pytest.mark.parametrize("n", [2, 5, 13, 40])
@pytest.mark.parametrize("told", [False, True])
def test_densities_are_those_of_contexts_read_alone(model, n, told):
    x, y = trials(n)
    kinds, roles = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    if told:
        kinds[1], roles[0] = CATEGORICAL, 5
    folds = np.array_split(np.random.default_rng(0).permutation(n), min(n, 4))
    found = held_out_log_density(model, x, y, folds, Dimensions(kinds[None], roles[None]))
    expected = one_by_one(model, x, y, folds, kinds, roles)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    if told:
        blind = held_out_log_density(model, x, y, folds, Dimensions.continuous(1, 3))
        assert not torch.allclose(found, blind, rtol=1e-3, atol=1e-3)


def test_no_gradient_is_kept():
    x, y = trials(6)
    found = held_out_log_density(
        untrained_model(), x, y, [np.arange(6)[:3], np.arange(3, 6)], Dimensions.continuous(1, 3)
    )
    assert not found.requires_grad


def test_a_trial_is_predicted_without_itself(model):
    x, y = trials(12)
    folds = [np.arange(0, 6), np.arange(6, 12)]
    before = held_out_log_density(model, x, y, folds, Dimensions.continuous(1, 3))
    # In the first fold's contexts nothing changes; the second's see another value.
    changed = y.clone()
    changed[0] += 50.0
    after = held_out_log_density(model, x, changed, folds, Dimensions.continuous(1, 3))
    torch.testing.assert_close(before[1:6], after[1:6])
    assert not torch.isclose(before[0], after[0])
    assert not torch.allclose(before[6:], after[6:])
