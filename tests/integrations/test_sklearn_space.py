# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's notation -> Space."""

import numpy as np
import pytest
from scipy import stats

from diffhpo.errors import SpaceError
from diffhpo.integrations.sklearn_space import SELECTOR, estimator_space
from diffhpo.space import Categorical, Constant, Float, Int, Ordinal, Space


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (stats.uniform(2, 3), Float(2.0, 5.0)),
        (stats.uniform(loc=-1, scale=2), Float(-1.0, 1.0)),
        (stats.loguniform(1e-3, 1e3), Float(1e-3, 1e3, log=True)),
        (stats.reciprocal(1, 8), Float(1.0, 8.0, log=True)),
        (stats.randint(1, 9), Int(1, 8)),
        (stats.randint(0, 3, loc=4), Int(4, 6)),
        (stats.randint(3, 4), Constant(3)),
        ([0.1, 1, 10], Ordinal([0.1, 1, 10])),
        ((8, 4, 2), Ordinal([8, 4, 2])),
        (np.array([1, 2, 4]), Ordinal([1, 2, 4])),
        (range(1, 4), Ordinal([1, 2, 3])),
        ([1, 5, 2], Categorical([1, 5, 2])),
        (["rbf", "poly"], Categorical(["rbf", "poly"])),
        ([False, True], Categorical([False, True])),
        ([None, 2, 4], Categorical([None, 2, 4])),
        (["rbf"], Constant("rbf")),
        (Int(1, 64, log=True), Int(1, 64, log=True)),
    ],
)
def test_a_domain_becomes_the_parameter_that_holds_its_values(given, expected):
    space = estimator_space({"first": [1, 2], "parameter": given}).space
    found = space.parameters["parameter"]
    assert found == expected
    if isinstance(found, Ordinal):
        assert all(type(a) is type(b) for a, b in zip(found.choices, expected.choices, strict=True))


@pytest.mark.parametrize("given", [stats.uniform(2, 3), stats.loguniform(1e-3, 1e3), stats.randint(1, 9)])
def test_a_distributions_quantiles_are_where_the_cube_has_them(given):
    """The middle of the k-th of m equal parts of the axis is the (k + 1/2) / m quantile."""
    parameter = estimator_space({"parameter": given}).space.parameters["parameter"]
    for share in (np.arange(8) + 0.5) / 8:
        assert parameter.decode(np.array([share])) == pytest.approx(given.ppf(share), rel=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (stats.expon(), r"'C' is scipy.stats.expon, which .*accepted: a list of values, scipy.stats.uniform"),
        (stats.reciprocal(1, 8, loc=2), r"'C' is scipy.stats.reciprocal with loc=2"),
        (stats.uniform(0, 0), r"'C' is uniform on \[nan, nan\]"),
        (stats.uniform, r"'C' is .*accepted: a list of values"),
        ("rbf", r"'C' is 'rbf'; accepted: a list of values"),
        (3.0, r"'C' is 3.0; accepted: a list of values"),
        ([], r"'C' is an empty list"),
        (["a", "a"], r"'C': Categorical\(.*comes twice"),
        (np.eye(2), r"'C' is array"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_is_accepted(given, message):
    with pytest.raises(SpaceError, match=message):
        estimator_space({"C": given})


@pytest.mark.parametrize("given", ["C", 3, None, [], [3], [{"C": [1, 2]}, "C"]])
def test_a_space_is_a_dictionary_or_a_list_of_them(given):
    with pytest.raises(SpaceError, match="param_space"):
        estimator_space(given)


TWO = [
    {"kernel": ["rbf"], "C": stats.loguniform(0.1, 10), "gamma": stats.loguniform(1e-3, 1)},
    {"kernel": ["poly", "sigmoid"], "C": stats.loguniform(0.1, 10), "gamma": [0.1, 1.0], "degree": [2, 3]},
]


def test_a_list_of_dictionaries_is_a_conditional_space():
    read = estimator_space(TWO)
    assert list(read.space.parameters) == [
        SELECTOR,
        "0:kernel",
        "C",
        "0:gamma",
        "1:kernel",
        "1:gamma",
        "degree",
    ]
    seen = {0: [], 1: []}
    for configuration in read.space.sample(64, seed=0):
        seen[configuration[SELECTOR]].append(read.estimator_parameters(configuration))
    assert all(set(p) == {"kernel", "C", "gamma"} and p["kernel"] == "rbf" for p in seen[0])
    assert all(set(p) == {"kernel", "C", "gamma", "degree"} for p in seen[1])
    assert {p["kernel"] for p in seen[1]} == {"poly", "sigmoid"}
    assert min(len(seen[0]), len(seen[1])) > 16


def test_the_estimators_parameters_find_their_configuration():
    read = estimator_space(TWO)
    for configuration in read.space.sample(32, seed=1):
        parameters = read.estimator_parameters(configuration)
        assert read.configuration(parameters) == configuration
    with pytest.raises(SpaceError, match=r"none of the dictionaries.*none has these names"):
        read.configuration({"kernel": "rbf"})
    with pytest.raises(SpaceError, match=r"none of the dictionaries.*'linear' is not"):
        read.configuration({"kernel": "linear", "C": 1.0, "gamma": 0.1})


def test_parameters_that_mean_the_same_are_shared_and_others_are_not():
    choices = [object(), object()]
    read = estimator_space([{"a": choices, "b": [1, 2], "c": [1, 2]}, {"a": list(choices), "b": [1, 3]}])
    assert set(read.space.parameters) == {SELECTOR, "a", "c", "0:b", "1:b"}
    assert read.space.conditions["a"][0].values == (0, 1)
    assert read.space.conditions["c"][0].values == (0,)


def test_one_dictionary_in_a_list_is_that_dictionary():
    assert estimator_space([{"C": [1, 2]}]).space == estimator_space({"C": [1, 2]}).space


def test_a_space_is_taken_as_it_is():
    space = Space({"C": Float(1, 2)})
    assert estimator_space(space).space is space
