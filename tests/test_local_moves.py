# SPDX-License-Identifier: Apache-2.0
import numpy as np

from diffhpo.local_moves import ANOTHER_CHOICE, LocalMoves, moved_coordinates
from diffhpo.space import Categorical, Float, Int, Space

SPACE = Space(
    {"lr": Float(0, 1), "depth": Int(1, 10), "kind": Categorical("abc"), "flag": Categorical([0, 1])}
)


def neighbours(count=20_000, deviation=0.01):
    moves = LocalMoves(
        SPACE.dim, kinds=SPACE.column_kinds, steps=SPACE.column_steps, parameters=SPACE.column_names
    )
    centre = SPACE.encode({"lr": 0.5, "depth": 5, "kind": "b", "flag": 1})
    points = moves(np.tile(centre, (count, 1)), np.full((count, 1), deviation), np.random.default_rng(0))
    return SPACE.snap(points)


def test_half_of_the_coordinates_move_and_always_one():
    moved = moved_coordinates((10_000, 1), np.random.default_rng(0))
    assert moved.all()
    moved = moved_coordinates((10_000, 4), np.random.default_rng(0))
    assert moved.any(axis=1).all()
    # 1/2, and the one that is drawn to move whatever else does: 1/2 + 1/2 * 1/4.
    np.testing.assert_allclose(moved.mean(), 0.625, atol=0.02)


def test_each_kind_moves_in_its_own_way():
    found = neighbours()
    decoded = [SPACE.decode(row) for row in found[:5000]]
    assert np.std([d["lr"] for d in decoded]) < 0.02
    # 0.7 levels of noise: more than 1/2 a level in 47% of the moves.
    another_level = np.mean([d["depth"] != 5 for d in decoded])
    assert 0.2 < another_level < 0.35
    for name, size in (("kind", 3), ("flag", 2)):
        changed = np.mean([d[name] != {"kind": "b", "flag": 1}[name] for d in decoded])
        np.testing.assert_allclose(changed, ANOTHER_CHOICE * (1 - 1 / size), atol=0.02)
    assert {d["kind"] for d in decoded} == set("abc")


def test_without_kinds_all_columns_are_real():
    points = LocalMoves(3)(np.full((1000, 3), 0.5), np.full((1000, 1), 0.01), np.random.default_rng(0))
    assert 0 < np.abs(points - 0.5).max() < 0.06
