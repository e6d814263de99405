# SPDX-License-Identifier: Apache-2.0
"""Conversion from and to ConfigSpace; ConfigSpace itself says what is active, legal and forbidden."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

cs = pytest.importorskip("ConfigSpace")
exceptions = pytest.importorskip("ConfigSpace.exceptions")

from diffhpo.errors import InputError, SpaceError  # noqa: E402
from diffhpo.integrations.configspace import (  # noqa: E402
    configspace_from_space,
    configuration_from_configspace,
    space_from_configspace,
)
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Space  # noqa: E402


@st.composite
def parameters(draw, name):
    kind = draw(st.sampled_from(["float", "log float", "int", "log int", "choice", "ordinal", "constant"]))
    low = draw(st.integers(1, 5))
    if kind.endswith("float"):
        return cs.UniformFloatHyperparameter(name, low / 10, low + 3.0, log=kind.startswith("log"))
    if kind.endswith("int"):
        high = low + draw(st.integers(1, 6))
        return cs.UniformIntegerHyperparameter(name, low, high, log=kind.startswith("log"))
    if kind == "choice":
        values = draw(st.sampled_from([["a", "b"], [1, 2.5, 4], [None, "x", (1, 2)], [False, True], ["one"]]))
        return cs.CategoricalHyperparameter(name, values)
    if kind == "ordinal":
        return cs.OrdinalHyperparameter(name, draw(st.sampled_from([["low", "mid", "high"], [16, 32, 64]])))
    return cs.Constant(name, draw(st.sampled_from(["adam", 3])))


def values_of(parameter):
    if isinstance(parameter, cs.UniformIntegerHyperparameter):
        return list(range(parameter.lower, parameter.upper + 1))
    if isinstance(parameter, cs.CategoricalHyperparameter):
        return list(parameter.choices)
    if isinstance(parameter, cs.OrdinalHyperparameter):
        return list(parameter.sequence)
    return [parameter.value]


@st.composite
def single_conditions(draw, child, parent):
    values = values_of(parent)
    value = draw(st.sampled_from(values))
    kinds = ["==", "in"]
    if isinstance(parent, (cs.UniformIntegerHyperparameter, cs.OrdinalHyperparameter)):
        kinds += [">"] * (value != values[-1]) + ["<"] * (value != values[0])
    if len(values) > 1:
        kinds += ["!=", "or"]
    kind = draw(st.sampled_from(kinds))
    if kind == "in":
        chosen = draw(st.lists(st.sampled_from(range(len(values))), min_size=1, unique=True))
        return cs.InCondition(child, parent, [values[index] for index in chosen])
    if kind == "or":
        other = draw(st.sampled_from([found for found in values if found is not value]))
        return cs.OrConjunction(
            cs.EqualsCondition(child, parent, value), cs.EqualsCondition(child, parent, other)
        )
    types = {
        "==": cs.EqualsCondition,
        "!=": cs.NotEqualsCondition,
        "<": cs.LessThanCondition,
        ">": cs.GreaterThanCondition,
    }
    return types[kind](child, parent, value)


@st.composite
def spaces(draw, forbidden=True):
    """A ConfigurationSpace with conditions several levels deep and, perhaps, forbidden clauses."""
    made = cs.ConfigurationSpace(seed=draw(st.integers(0, 1000)))
    # Names in any order: ConfigSpace sorts by depth and name, and a child may come before its parent.
    names = draw(st.permutations(["p", "q", "r", "s", "t", "u", "v"]))[: draw(st.integers(2, 7))]
    finite = []
    for name in names:
        parameter = draw(parameters(name))
        made.add(parameter)
        parents = draw(st.lists(st.sampled_from(finite), max_size=2, unique=True)) if finite else []
        parts = [draw(single_conditions(parameter, made[parent])) for parent in parents]
        if parts:
            made.add(parts[0] if len(parts) == 1 else cs.AndConjunction(*parts))
        if not isinstance(parameter, cs.UniformFloatHyperparameter):
            finite.append(name)
    if forbidden and len(finite) > 1 and draw(st.booleans()):
        pair = draw(st.permutations(finite))[:2]
        clauses = [
            cs.ForbiddenEqualsClause(made[name], draw(st.sampled_from(values_of(made[name]))))
            for name in pair
        ]
        try:
            made.add(cs.ForbiddenAndConjunction(*clauses))
        except exceptions.ForbiddenValueError:  # of the default configuration: ConfigSpace refuses that
            assume(False)
    assume(any(not isinstance(found, cs.Constant) and values_size(found) > 1 for found in made.values()))
    return made


def values_size(parameter):
    return np.inf if isinstance(parameter, cs.UniformFloatHyperparameter) else len(values_of(parameter))


def drawn(given_space, count):
    try:
        return list(given_space.sample_configuration(count))
    except exceptions.NoPossibleNeighborsError:
        return []


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, float) and not isinstance(found[name], bool):
            assert found[name] == pytest.approx(value, rel=1e-9)
        else:
            assert found[name] == value
            assert type(found[name]) is type(value)


@given(spaces())
@settings(max_examples=60, deadline=None)
def test_a_configuration_of_configspace_comes_back_as_itself(given_space):
    space = space_from_configspace(given_space)
    for configuration in drawn(given_space, 8):
        expected = configuration_from_configspace(configuration)
        assert_same(space.decode(space.encode(expected)), expected)


@given(spaces(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_configspace_accepts_what_the_space_allows_and_nothing_else(given_space, seed):
    space = space_from_configspace(given_space)
    for unit in np.random.default_rng(seed).random((16, space.dim)):
        found = space.decode(unit)
        # Its constructor refuses a configuration with a missing, an inactive or an illegal value.
        try:
            cs.Configuration(given_space, values=found)
            allowed = True
        except exceptions.ForbiddenValueError:
            allowed = False
        assert space.allows(found) is allowed


@given(spaces(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_there_and_back_is_the_same_space(given_space, seed):
    space = space_from_configspace(given_space)
    back = configspace_from_space(space, seed=seed % 2**31)
    again = space_from_configspace(back)
    assert again.parameters == space.parameters
    for configuration in drawn(back, 8):
        found = configuration_from_configspace(configuration)
        cs.Configuration(given_space, values=found)
        assert_same(again.decode(space.encode(found)), found)


def test_bounds_and_scales_are_kept():
    made = cs.ConfigurationSpace(seed=0)
    made.add(cs.UniformFloatHyperparameter("lr", 1e-4, 1.0, log=True))
    made.add(cs.UniformFloatHyperparameter("momentum", -1.0, 0.5))
    made.add(cs.UniformIntegerHyperparameter("units", 4, 512, log=True))
    made.add(cs.UniformIntegerHyperparameter("depth", 1, 9))
    space = space_from_configspace(made)
    assert space.parameters == {
        "lr": Float(1e-4, 1.0, log=True),
        "momentum": Float(-1.0, 0.5),
        "units": Int(4, 512, log=True),
        "depth": Int(1, 9),
    }
    for given_space in (made, configspace_from_space(space)):
        for name, parameter in space.parameters.items():
            middle, own = given_space[name].to_value(np.float64(0.5)), parameter.decode(np.array([0.5]))
            assert own == pytest.approx(middle, rel=1e-6, abs=5 if name == "units" else 0)


def test_relations_and_ordered_clauses_are_kept_and_need_active_parameters():
    made = cs.ConfigurationSpace({"a": (1, 9), "b": (1, 9), "c": ["off", "on"]}, seed=0)
    made.add(cs.EqualsCondition(made["b"], made["c"], "on"))
    made.add(cs.ForbiddenGreaterThanRelation(made["a"], made["b"]))
    made.add(cs.ForbiddenInClause(made["b"], [7, 8]))
    for space in (
        space_from_configspace(made),
        space_from_configspace(configspace_from_space(space_from_configspace(made))),
    ):
        assert space.allows({"a": 9, "c": "off"})
        assert space.allows({"a": 3, "b": 3, "c": "on"})
        assert not space.allows({"a": 4, "b": 3, "c": "on"})
        assert not space.allows({"a": 1, "b": 7, "c": "on"})


def test_a_clause_on_an_absent_ordinal_does_not_hold():
    made = cs.ConfigurationSpace({"c": ["off", "on"]}, seed=0)
    size = cs.OrdinalHyperparameter("size", [16, 32, 64], default_value=16)
    made.add(size)
    made.add(cs.EqualsCondition(size, made["c"], "on"))
    made.add(cs.ForbiddenGreaterThanEqualsClause(size, 32))
    space = space_from_configspace(made)
    assert space.allows({"c": "off"})
    assert not space.allows({"c": "on", "size": 64})
    assert space.allows({"c": "on", "size": 16})


def test_numbers_that_configspace_unifies_come_back_as_they_were_given():
    made = cs.ConfigurationSpace(seed=0)
    made.add(cs.CategoricalHyperparameter("mixed", [False, 3, 2.5]))
    found = {repr(configuration_from_configspace(c)["mixed"]) for c in made.sample_configuration(50)}
    assert found == {"False", "3", "2.5"}


def test_steps_become_an_ordinal_and_other_parameters_themselves():
    space = Space(
        {
            "rate": Float(0.0, 1.0, step=0.25),
            "width": Int(16, 64, step=16),
            "lr": Float(1e-4, 1.0, log=True),
            "size": Ordinal(["s", "m", "l"]),
            "kind": Categorical(["a", "b", None]),
            "fixed": Constant(7),
        },
        conditions={"width": [Condition("kind", ["a", None]), Condition("size", ["l"])]},
    )
    made = configspace_from_space(space, seed=1)
    assert made["rate"].sequence == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert made["width"].sequence == (16, 32, 48, 64)
    for configuration in made.sample_configuration(40):
        found = configuration_from_configspace(configuration)
        assert ("width" in found) is (found["kind"] in ("a", None) and found["size"] == "l")
        space.encode(found)


def or_over_two_parents():
    made = cs.ConfigurationSpace({"a": [1, 2], "b": [1, 2], "c": (0.0, 1.0)})
    one, two = (cs.EqualsCondition(made["c"], made[parent], 1) for parent in "ab")
    made.add(cs.OrConjunction(one, two))
    return made


def under(parent, condition):
    made = cs.ConfigurationSpace({"a": parent, "c": (0.0, 1.0)})
    made.add(condition(made["c"], made["a"]))
    return made


@pytest.mark.parametrize(
    ("given_space", "words"),
    [
        (lambda: cs.ConfigurationSpace({"x": cs.Float("x", (0, 1), distribution=cs.Normal(0.5, 1))}), "'x'"),
        (lambda: cs.ConfigurationSpace({"x": cs.Integer("x", (0, 9), distribution=cs.Beta(2, 3))}), "'x'"),
        (lambda: cs.ConfigurationSpace({"x": cs.Categorical("x", "ab", weights=[1, 3])}), "weights"),
        (or_over_two_parents, r"'c'.*\['a', 'b'\]"),
        (lambda: under((0.0, 1.0), lambda c, a: cs.GreaterThanCondition(c, a, 0.5)), "'c'.*'a'"),
        (lambda: under((0, 10**6), lambda c, a: cs.GreaterThanCondition(c, a, 5)), "'c'.*10000"),
        (lambda: under((1, 3), lambda c, a: cs.GreaterThanCondition(c, a, 3)), "'c' is never active"),
    ],
)
def test_what_has_no_counterpart_is_named(given_space, words):
    with pytest.raises(SpaceError, match=words):
        space_from_configspace(given_space())


def test_equal_weights_are_no_prior():
    made = cs.ConfigurationSpace({"x": cs.Categorical("x", ["a", "b"], weights=[2, 2])})
    assert space_from_configspace(made).parameters == {"x": Categorical(["a", "b"])}


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="configuration_space is dict"):
        space_from_configspace({})
    with pytest.raises(InputError, match="configuration is dict"):
        configuration_from_configspace({})
    with pytest.raises(InputError, match="space is dict"):
        configspace_from_space({})
    with pytest.raises(SpaceError, match="forbidden is"):
        configspace_from_space(Space({"a": Int(1, 3)}, forbidden=lambda found: False))
    with pytest.raises(SpaceError, match=r"'a'.*20001 values"):
        configspace_from_space(Space({"a": Float(0.0, 20000.0, step=1.0)}))


def test_the_page_of_the_documentation_runs(capsys):
    page = Path(__file__).resolve().parents[2] / "docs" / "integrations" / "configspace.md"
    shared = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(compile(block, page.name, "exec"), shared)
    assert len(blocks) == 2
    assert "kernel" in capsys.readouterr().out
