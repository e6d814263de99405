# SPDX-License-Identifier: Apache-2.0
"""What augmentation may do to columns, and what it must leave."""

import numpy as np
import pytest

from diffhpo.pretraining import augmentation
from diffhpo.pretraining.augmentation import augment

KINDS, ROLES = np.array([0, 0, 1, 2]), np.array([1, 10, 3, 17])
CHANCES = ("P_WARP", "P_FLIP", "P_IRRELEVANT", "P_SPLIT", "P_ONE_HOT")


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    x = rng.random((60, 4), dtype=np.float32)
    x[:, 2] = rng.integers(5, size=60) / 4
    x[:, 3] = rng.integers(3, size=60) / 2
    return x


@pytest.fixture
def only(monkeypatch):
    """Switches every change off but the named one."""

    def switch(*names):
        for name in CHANCES:
            monkeypatch.setattr(augmentation, name, 1.0 if name in names else 0.0)

    return switch


def draws(points, count=60, max_dim=32):
    return [augment(np.random.default_rng(seed), points, KINDS, ROLES, max_dim) for seed in range(count)]


def test_without_changes_columns_are_only_permuted(points, only):
    only()
    for x, kinds, _ in draws(points):
        assert sorted(kinds.tolist()) == [0, 0, 1, 2]
        for j in np.flatnonzero(kinds != 2):
            assert any(np.array_equal(x[:, j], points[:, k]) for k in range(3))
        category = x[:, np.flatnonzero(kinds == 2)[0]]
        # Another order of the levels, but the same groups of points.
        pairs = {(a, b) for a, b in zip(category.tolist(), points[:, 3].tolist(), strict=True)}
        assert len(pairs) == 3


def test_roles_are_withheld_in_half_of_the_draws_and_named_ones_are_not_flipped(points, only):
    only("P_FLIP")
    named = 0
    for x, kinds, roles in draws(points, 200):
        if roles.any():
            named += 1
            rate = x[:, np.flatnonzero(roles == 1)[0]]
            np.testing.assert_array_equal(rate, points[:, 0])
        else:
            assert any(np.allclose(x[:, j], 1 - points[:, 0]) for j in np.flatnonzero(kinds == 0))
    assert 70 < named < 130


def test_warps_keep_order_and_ends(points, only):
    only("P_WARP")
    points[0, :2], points[1, :2] = 0.0, 1.0
    for x, _, roles in draws(points, 40):
        for role, column in ((1, 0), (10, 1)):
            if role in roles:
                warped = x[:, np.flatnonzero(roles == role)[0]]
                assert (
                    np.argsort(warped, kind="stable") == np.argsort(points[:, column], kind="stable")
                ).all()
                assert (warped[0], warped[1]) == (0.0, 1.0)
                assert np.abs(warped - points[:, column]).max() < 0.2


def test_a_split_columns_mean_is_the_column(points, only):
    only("P_SPLIT")
    seen = 0
    for x, _, roles in draws(points):
        assert ((x >= 0) & (x <= 1)).all()
        if not roles.any():
            seen += 1
            assert x.shape[1] == 6
            means = (x[:, :, None] + x[:, None]) / 2
            for column in range(2):
                gap = np.abs(means - points[:, column, None, None]).max(0)
                assert (gap[~np.eye(6, dtype=bool)] < 1e-6).any()
    assert seen > 10


def test_one_hot_columns_add_up_to_one(points, only):
    only("P_ONE_HOT")
    for x, kinds, roles in draws(points):
        hot = x[:, kinds == 2]
        assert hot.shape[1] == 3
        np.testing.assert_array_equal(hot.sum(1), 1.0)
        assert not roles.any() or (roles[kinds == 2] == 17).all()


def test_dimension_never_exceeds_the_limit(points, only):
    only(*CHANCES)
    for limit in (4, 5, 6, 9):
        sizes = [x.shape[1] for x, _, _ in draws(points, 60, max_dim=limit)]
        assert max(sizes) == limit
        assert min(sizes) >= 4
