# SPDX-License-Identifier: Apache-2.0
"""Spaces, choices and points as a careless user gives them."""

import itertools
import math

import numpy as np
import pytest

from diffhpo.errors import InputError
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Space

ONE = Space({"a": Int(1, 5)})


class Own(Float):
    """A parameter class of a user."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical(None), r"Categorical: choices is None; a list"),
        (lambda: Ordinal(5), r"Ordinal: choices is 5; a list"),
        (lambda: Categorical({"a", "b"}), r"choices is a set; a list"),
        (lambda: Categorical({"a": 1, "b": 2}), r"choices is a dict; a list"),
        (lambda: Ordinal(itertools.count()), r"more than 10000 choices"),
        (lambda: Categorical([1, True, 1.0]), r"1\.0 comes twice"),
        (lambda: Categorical([math.nan, np.float32("nan")]), r"comes twice"),
        (lambda: Categorical([[1], (2,), [1]]), r"\[1\] comes twice"),
        (lambda: Condition(["a"], [1]), r"parent is \['a'\]"),
        (lambda: Space([("a", Int(1, 2))]), r"parameters is a list"),
        (lambda: Space({"a": Int(1, 2)}, conditions=["a"]), r"conditions is a list"),
        (lambda: Space({"a": Int(1, 2)}, conditions={"a": 3}), r"holds 3; a Condition"),
        (lambda: ONE.sample("3"), r"n is '3'"),
        (lambda: ONE.sample(10**12), r"n is 1000000000000; a whole number from 0 to 1,000,000"),
        (lambda: ONE.sample(1, seed=-1), r"seed is -1"),
        (lambda: ONE.sample(1, seed=None), r"seed is None"),
        (lambda: Space({"a": Int(0, 10**9)}).all_units(), r"more than 1,000,000"),
        (lambda: ONE.decode(np.array([math.nan])), r"unit holds nan"),
        (lambda: ONE.decode(np.array([-0.5])), r"unit holds -0\.5"),
        (lambda: ONE.decode(np.array([0.1, 0.2])), r"unit has shape \(2,\); \(1\) is needed"),
        (lambda: ONE.decode("x"), r"unit is 'x'"),
        (lambda: ONE.snap(np.array([0.5])), r"units has shape \(1,\); \(n, 1\) is needed"),
        (lambda: ONE.active([[2.0]]), r"units holds 2\.0"),
        (lambda: Space({"a": Own(0, 1)}).to_json(), r"'a' is a Own, which JSON cannot hold"),
        (lambda: Space({"a": Categorical([(1, 2), (3,)])}).to_json(), r"\(1, 2\), a tuple, which JSON"),
        (
            lambda: Space(
                {"a": Int(1, 2), "b": Int(1, 2)},
                conditions={"b": [Condition("a", [1]), Condition("a", [2])]},
            ).to_json(),
            r"'b' needs values of 'a' that exclude each other",
        ),
    ],
)
def test_what_is_no_space_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_forbidden_that_changes_what_it_is_given_changes_nothing():
    space = Space({"a": Int(1, 3), "b": Int(1, 2)}, forbidden=lambda c: c.pop("a") == 2)
    assert [tuple(space.decode(unit).values()) for unit in space.all_units()] == [
        (1, 1),
        (1, 2),
        (3, 1),
        (3, 2),
    ]
    mine = {"a": 1, "b": 2}
    space.encode(mine)
    assert mine == {"a": 1, "b": 2}


def test_sizes_beyond_double_precision_are_counted():
    wide = {f"i{k}": Int(0, 2**49) for k in range(30)}
    assert Space(wide).size == (2**49 + 1) ** 30
    assert Space({**wide, "x": Float(0, 1)}).size == math.inf
    conditional = Space(
        {"c": Categorical("ab"), **wide, "x": Float(0, 1)}, conditions={"x": Condition("c", ["a"])}
    )
    assert conditional.size == math.inf


def test_thousands_of_parameters_do_not_reach_the_recursion_limit():
    names = [f"p{k}" for k in range(1500)]
    chain = {name: Condition(before, [0]) for before, name in itertools.pairwise(names)}
    space = Space({**{name: Constant(0) for name in names}, "x": Int(1, 3)}, chain)
    assert space.size == 3
    assert [space.decode(unit)["x"] for unit in space.all_units()] == [1, 2, 3]


@pytest.mark.parametrize("choices", [range(9_000), [str(k) for k in range(9_000)], np.arange(9_000)])
def test_plain_choices_are_not_compared_pair_by_pair(choices, monkeypatch):
    """9,000 of them would take minutes."""

    def compared(a, b):
        raise AssertionError(f"{a} and {b} were compared")

    monkeypatch.setattr("diffhpo.space.choices.same", compared)
    parameter = Ordinal(choices)
    assert all(parameter.decode(parameter.encode(choice)) == choice for choice in choices)
