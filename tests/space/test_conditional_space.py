# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffhpo.errors import SpaceError
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Space

SVM = Space(
    {
        "degree": Int(2, 5),
        "kernel": Categorical(["linear", "rbf", "poly"]),
        "C": Float(1e-3, 1e3, log=True),
        "gamma": Float(1e-4, 10.0, log=True),
        "shape": Categorical(["auto", "scale"]),
        "version": Constant(2),
    },
    conditions={
        "degree": Condition("kernel", ["poly"]),
        "gamma": [Condition("kernel", ["rbf", "poly"]), Condition("shape", ["auto"])],
        "shape": Condition("kernel", ["rbf", "poly"]),
    },
)


def active_in(kernel, shape):
    """The oracle: which names SVM has, written out by hand."""
    names = {"kernel", "C", "version"}
    if kernel != "linear":
        names.add("shape")
        if shape == "auto":
            names.add("gamma")
    if kernel == "poly":
        names.add("degree")
    return names


@given(seed=st.integers(0, 2**32))
def test_round_trip_and_mask(seed):
    units = SVM.snap(np.random.default_rng(seed).random((8, SVM.dim)))
    np.testing.assert_array_equal(SVM.snap(units), units)
    for unit, mask in zip(units, SVM.active(units), strict=True):
        configuration = SVM.decode(unit)
        assert set(configuration) == active_in(configuration["kernel"], configuration.get("shape"))
        np.testing.assert_allclose(SVM.encode(configuration), unit, atol=1e-9)
        assert SVM.decode(SVM.encode(configuration)).keys() == configuration.keys()
        columns = [name in configuration for name in SVM.column_names]
        assert mask.tolist() == columns


def test_configurations_are_in_the_order_of_the_parameters():
    for configuration in SVM.sample(50, seed=1):
        assert list(configuration) == [name for name in SVM.parameters if name in configuration]


def test_what_an_inactive_parameter_would_be_does_not_matter():
    """Two points that differ in inactive columns alone are one configuration, hence one point."""
    units = np.random.default_rng(0).random((200, SVM.dim))
    other = np.where(SVM.active(units), units, np.random.default_rng(1).random(units.shape))
    np.testing.assert_array_equal(SVM.snap(units), SVM.snap(other))


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"kernel": "linear", "C": 1.0, "version": 2, "gamma": 1.0}, r"\['gamma'\], which are not active"),
        ({"kernel": "rbf", "C": 1.0, "version": 2, "shape": "auto"}, r"lacks \['gamma'\]"),
        ({"kernel": "sigmoid", "C": 1.0, "version": 2}, r"'kernel': 'sigmoid' is not one of"),
        ({"kernel": "linear", "C": 1.0, "version": 2, "x": 1}, r"unknown \['x'\]"),
        ({"kernel": "linear", "C": 1.0, "version": 3}, r"'version': 3 is not the constant 2"),
        (7, r"configuration is 7"),
    ],
)
def test_bad_configurations_are_named(configuration, message):
    with pytest.raises(SpaceError, match=message):
        SVM.encode(configuration)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"z": Condition("a", [1])}, r"'z', which is not a parameter"),
        ({"a": Condition("z", [1])}, r"is on 'z', which is not"),
        ({"a": Condition("x", [0.5])}, r"a real parameter"),
        ({"b": Condition("a", [9])}, r"on 'a': 9 is not a whole number in"),
        ({"a": Condition("a", [1])}, r"circle"),
        ({"a": Condition("b", [1]), "b": Condition("a", [1])}, r"circle"),
        ({"a": "b"}, r"a Condition is needed"),
    ],
)
def test_bad_conditions_are_named(conditions, message):
    with pytest.raises(SpaceError, match=message):
        Space({"a": Int(1, 3), "b": Int(1, 3), "x": Float(0, 1)}, conditions)


@pytest.mark.parametrize("values", ["rbf", [], 3])
def test_a_condition_needs_a_list(values):
    with pytest.raises(SpaceError, match="a list of one or more"):
        Condition("kernel", values)


@st.composite
def finite_spaces(draw):
    """Up to five small parameters, each perhaps conditional on earlier ones."""
    parameters, conditions = {}, {}
    for index in range(draw(st.integers(1, 5))):
        name = f"p{index}"
        size = draw(st.integers(2, 3))
        parameters[name] = draw(
            st.sampled_from([Int(1, size), Categorical("abc"[:size]), Ordinal("xyz"[:size])])
        )
        earlier = [n for n in parameters if n != name]
        for parent in draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []:
            values = parameters[parent].values()
            chosen = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
            conditions.setdefault(name, []).append(Condition(parent, chosen))
    return Space(parameters, conditions)


@given(space=finite_spaces())
@settings(deadline=None)
def test_size_and_listing_agree_with_enumeration(space):
    """Independent: every product of values, inactive ones struck out by the definition."""
    found = set()
    names = list(space.parameters)
    for values in itertools.product(*(space.parameters[name].values() for name in names)):
        configuration = dict(zip(names, values, strict=True))
        for name in names:  # parents come earlier
            if not all(c.holds(configuration) for c in space.conditions.get(name, ())):
                del configuration[name]
        found.add(tuple(configuration.items()))
    units = space.all_units()
    assert {tuple(space.decode(unit).items()) for unit in units} == found
    assert len(units) == len(np.unique(units, axis=0)) == space.size == len(found)


@given(space=finite_spaces())
@settings(deadline=None)
def test_json_round_trip(space):
    assert Space.from_json(space.to_json()).to_json() == space.to_json()
    np.testing.assert_array_equal(Space.from_json(space.to_json()).all_units(), space.all_units())


def test_json_of_every_kind():
    again = Space.from_json(SVM.to_json())
    assert again.parameters == SVM.parameters
    assert again.conditions == SVM.conditions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "an object of parameters"),
        ({"a": {"type": "real"}}, "'a'.*no type of"),
        ({"a": {"type": ["float"], "low": 1, "high": 2}}, "'a'.*no type of"),
        ({"a": {"type": "int", "low": 1}}, "'a': a int needs high$"),
        ({"a": {"type": "float"}}, "'a': a float needs low and high$"),
        ({"a": {"type": "categorical", "choices": "relu"}}, "'a': choices is 'relu'; an array is needed"),
        ({"a": {"type": "int", "low": 1, "high": 3, "when": ["b"]}}, "'a'.*when is"),
        ({"a": {"type": "int", "low": 1, "high": 3, "when": {"b": [1]}}}, "'b', which is not a parameter"),
    ],
)
def test_bad_json_is_named(content, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_json(content)


def test_json_refuses_what_it_cannot_hold():
    with pytest.raises(SpaceError, match=r"'a'.*object"):
        Space({"a": Categorical([object(), 1])}).to_json()
    with pytest.raises(SpaceError, match="forbidden"):
        Space({"a": Int(1, 3)}, forbidden=lambda c: False).to_json()


def test_forbidden_configurations_are_left_out():
    space = Space({"a": Int(1, 4), "b": Int(1, 4)}, forbidden=lambda c: c["a"] + c["b"] > 6)
    units = np.random.default_rng(0).random((500, 2))
    kept = space.snap(units)
    everything = Space(space.parameters).snap(units)
    sums = [space.decode(u)["a"] + space.decode(u)["b"] for u in everything]
    assert len(kept) == sum(total <= 6 for total in sums) < 500
    assert len(space.all_units()) == 13
    with pytest.raises(SpaceError, match="forbidden"):
        space.encode({"a": 4, "b": 4})
    assert all(c["a"] + c["b"] <= 6 for c in space.sample(100))


def test_an_impossible_or_failing_forbidden_is_told():
    with pytest.raises(SpaceError, match=r"0 of 3 configurations"):
        Space({"a": Int(1, 4)}, forbidden=lambda c: True).sample(3)
    with pytest.raises(SpaceError, match=r"forbidden failed for .*KeyError"):
        Space({"a": Int(1, 4)}, forbidden=lambda c: c["b"] > 1).sample(3)
    with pytest.raises(SpaceError, match="forbidden is 3"):
        Space({"a": Int(1, 4)}, forbidden=3)
