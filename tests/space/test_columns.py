# SPDX-License-Identifier: Apache-2.0
"""Columns of the cube, the limits of spaces, and their text and JSON forms, by hand."""

import math

import numpy as np
import pytest

from diffhpo.errors import SpaceError
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Space
from diffhpo.space.choices import MOST_CHOICES, same

SPACE = Space(
    {
        "C": Float(1e-3, 1e3, log=True),
        "kernel": Categorical(["linear", "rbf", "poly"]),
        "shrink": Categorical([False, True]),
        "degree": Int(2, 5),
        "size": Ordinal(["s", "m", "l"]),
        "version": Constant(2),
        "dropout": Float(0.0, 0.5, step=0.1),
        "width": Int(16, 512, log=True),
    },
    conditions={
        "degree": Condition("kernel", ["poly"]),
        "dropout": [Condition("kernel", ["rbf", "poly"]), Condition("shrink", [True])],
    },
)


def test_columns_by_hand():
    assert SPACE.dim == 9
    assert SPACE.column_names == [
        *("C", "kernel", "kernel", "kernel", "shrink", "degree", "size", "dropout", "width")
    ]
    assert SPACE.column_kinds == [0, 2, 2, 2, 2, 1, 1, 1, 1]
    steps = [0, 1, 1, 1, 1, 1 / 4, 1 / 3, 1 / 6, math.log(512 / 511) / math.log(512.5 / 15.5)]
    assert SPACE.column_steps == pytest.approx(steps, rel=1e-12)


def test_the_step_of_a_column_is_the_distance_of_neighbours():
    for parameter in (Int(1, 8), Int(0, 30, step=5), Float(0, 1, step=0.25), Ordinal("abcde")):
        ends = [parameter.encode(value)[0] for value in parameter.values()]
        np.testing.assert_allclose(np.diff(ends), parameter.unit_step, rtol=1e-12)
    log = Int(3, 40, log=True)
    assert log.encode(40)[0] - log.encode(39)[0] == pytest.approx(log.unit_step, rel=1e-9)
    assert Constant("a").encode("a").shape == (0,)
    assert Constant("a").values() == ["a"]
    assert Constant("a").size == 1


def test_inactive_parameters_stand_in_the_middle():
    unit = SPACE.encode(
        {"C": 1.0, "kernel": "linear", "shrink": True, "size": "m", "version": 2, "width": 16}
    )
    np.testing.assert_allclose(unit[[0, 1, 2, 3, 4, 5, 6, 7]], [0.5, 1, 0, 0, 1, 0.5, 0.5, 0.5])
    others = Space(
        {"a": Int(1, 2), "two": Categorical("xy"), "three": Categorical("xyz"), "order": Ordinal("xy")},
        conditions={name: Condition("a", [2]) for name in ("two", "three", "order")},
    )
    np.testing.assert_array_equal(others.encode({"a": 1}), [0.25, 0.5, 0, 0, 0, 0.5])
    np.testing.assert_array_equal(others.snap(np.full((1, 6), 0.1)), [[0.25, 0.5, 0, 0, 0, 0.5]])


def test_ties_go_to_the_first_choice():
    assert Categorical("xy").decode(np.array([0.5])) == "x"
    assert Categorical("xyz").decode(np.array([0.2, 0.7, 0.7])) == "y"


def test_a_space_is_what_its_text_says():
    assert eval(repr(SPACE)) == SPACE
    assert repr(Space({"a": Int(1, 3)})) == "Space({'a': Int(low=1, high=3)})"

    def odd(configuration):
        return configuration["a"] % 2 == 1

    forbidding = Space({"a": Int(1, 3)}, forbidden=odd)
    assert repr(forbidding) == f"Space({{'a': Int(low=1, high=3)}}, forbidden={odd!r})"
    assert forbidding == Space({"a": Int(1, 3)}, forbidden=odd)
    assert forbidding != Space({"a": Int(1, 3)})
    assert Space({"a": Int(1, 3), "b": Int(1, 3)}) != Space({"b": Int(1, 3), "a": Int(1, 3)})
    assert Space({"a": Int(1, 3)}) != 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(forbidding)


def test_json_by_hand():
    assert SPACE.to_json() == {
        "C": {"type": "float", "low": 1e-3, "high": 1e3, "log": True},
        "kernel": {"type": "categorical", "choices": ["linear", "rbf", "poly"]},
        "shrink": {"type": "categorical", "choices": [False, True]},
        "degree": {"type": "int", "low": 2, "high": 5, "when": {"kernel": ["poly"]}},
        "size": {"type": "ordinal", "choices": ["s", "m", "l"]},
        "version": {"type": "constant", "value": 2},
        "dropout": {
            "type": "float",
            "low": 0.0,
            "high": 0.5,
            "step": 0.1,
            "when": {"kernel": ["rbf", "poly"], "shrink": [True]},
        },
        "width": {"type": "int", "low": 16, "high": 512, "log": True},
    }
    both = Space(
        {"a": Int(1, 4), "b": Int(1, 2)},
        {"b": [Condition("a", [1, 2, 3]), Condition("a", [3, 2, 4])]},
    )
    assert both.to_json()["b"]["when"] == {"a": [2, 3]}
    assert Space.from_json(both.to_json()).size == both.size == 2 + 2 * 2
    with pytest.raises(SpaceError, match=r"parameter 'a' has .*, a ndarray, which JSON cannot hold"):
        Space({"a": Categorical([np.arange(2), 1])}).to_json()


def test_the_largest_spaces():
    assert Space({str(k): Float(0, 1) for k in range(1000)}).dim == 1000
    assert Int(0, 2**50 - 1).size == 2**50
    assert Int(2**53 - 9, 2**53).values()[-1] == 2**53
    assert Int(-(2**53), 9 - 2**53).values()[0] == -(2**53)
    assert Int(0, 9, step=9).values() == [0, 9]
    assert Float(0, 1, step=1e-15).size == 10**15 + 1
    for make in (
        lambda: Int(0, 2**50),
        lambda: Int(2**53 - 9, 2**53 + 2),
        lambda: Int(-(2**53) - 2, 9 - 2**53),
    ):
        with pytest.raises(SpaceError, match=r"more than 2\*\*50 values, or one beyond 2\*\*53; use Float"):
            make()
    with pytest.raises(SpaceError, match=r"step 1e-16 gives more than 2\*\*50 values"):
        Float(0, 1, step=1e-16)


def test_the_most_choices():
    assert Ordinal(range(MOST_CHOICES)).size == MOST_CHOICES
    with pytest.raises(SpaceError, match="choices"):
        Ordinal(range(MOST_CHOICES + 1))


def test_sizes_are_exact_up_to_100_000_combinations_of_parents_and_bounds_above():
    def size(count):
        space = Space({"a": Int(1, count), "b": Int(1, 3)}, {"b": Condition("a", [1])})
        return space.size

    assert size(100) == 99 + 3
    assert size(100_000) == 99_999 + 3
    assert size(100_001) == 3 * 100_001


def test_steps_take_what_rounding_leaves_and_nothing_more():
    quarter = Float(0, 1, step=0.25)
    assert quarter.encode(0.25 + 2e-7) == quarter.encode(0.25)
    with pytest.raises(SpaceError, match=r"multiple of 0\.25"):
        quarter.encode(0.25 + 3e-7)
    with pytest.raises(SpaceError, match=r"multiple of 0\.3"):  # near 0.9, which is above the bound
        Float(0.0, 0.8999999999, step=0.3).encode(0.8999999999)
    with pytest.raises(SpaceError, match=r"5 is not 1 plus a multiple of 3"):
        Int(1, 9, step=3).encode(5)


def test_real_parameters_have_no_list_of_values():
    for call in (Float(0, 1).values, lambda: Float(0, 1).level(np.zeros((1, 1)))):
        with pytest.raises(SpaceError, match=r"Float\(low=0, high=1\) has no finite list of values"):
            call()


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, True, False),
        (True, 1, False),
        (np.True_, True, True),
        (1, np.True_, False),
        (math.nan, float("nan"), True),
        (math.nan, 1.0, False),
        (1.0, math.nan, False),
        (np.arange(3), np.arange(3), False),
        (np.arange(1), np.arange(1), True),
        ("1", 1, False),
    ],
)
def test_what_one_choice_is(a, b, equal):
    assert same(a, b) is equal


def test_points_are_where_the_axis_says():
    np.testing.assert_allclose(Float(-2.0, 6.0).encode(0.0), [0.25])
    np.testing.assert_allclose(Float(1e-4, 1.0, log=True).encode(1e-3), [0.25])
    assert Float(-2.0, 6.0).decode(np.array([0.75])) == 4.0
    np.testing.assert_allclose(Int(1, 4).encode(2), [0.375])
    low, high = math.log(0.5), math.log(8.5)
    np.testing.assert_allclose(Int(1, 8, log=True).encode(3), [(math.log(3) - low) / (high - low)])
    edge = (math.log(2.5) - low) / (high - low)  # between 2 and 3
    assert [Int(1, 8, log=True).decode(np.array([edge + move])) for move in (-1e-6, 1e-6)] == [2, 3]
