# SPDX-License-Identifier: Apache-2.0
"""Optuna's distributions and the parameters of a Space stand for the same values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

optuna = pytest.importorskip("optuna", minversion="4.0")

from optuna.distributions import (  # noqa: E402
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from diffhpo.errors import InputError, SpaceError  # noqa: E402
from diffhpo.integrations.optuna.distributions import (  # noqa: E402
    distribution_from_parameter,
    distributions_from_space,
    parameter_from_distribution,
    space_from_distributions,
)
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Space  # noqa: E402

units = st.floats(0, 1)
distributions = st.one_of(
    st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(lambda p: FloatDistribution(p[0], p[0] + p[1])),
    st.tuples(st.floats(1e-9, 1e3), st.floats(1.1, 1e6)).map(
        lambda p: FloatDistribution(p[0], p[0] * p[1], log=True)
    ),
    st.tuples(st.integers(-99, 99), st.integers(1, 40), st.sampled_from([0.1, 0.25, 0.5, 3.0])).map(
        lambda p: FloatDistribution(p[0], p[0] + p[1] * p[2], step=p[2])
    ),
    st.tuples(st.integers(-999, 999), st.integers(1, 40), st.integers(1, 9)).map(
        lambda p: IntDistribution(p[0], p[0] + p[1] * p[2], step=p[2])
    ),
    st.tuples(st.integers(1, 99), st.integers(1, 9999)).map(
        lambda p: IntDistribution(p[0], p[0] + p[1], log=True)
    ),
    st.lists(st.one_of(st.none(), st.text(max_size=3), st.integers(2, 99)), min_size=2, unique=True).map(
        CategoricalDistribution
    ),
)


@given(distributions, units)
def test_values_of_the_parameter_are_values_of_the_distribution(distribution, unit):
    parameter = parameter_from_distribution(distribution)
    value = parameter.decode(np.full(parameter.width, unit))
    assert distribution._contains(distribution.to_internal_repr(value))


@given(distributions)
def test_the_way_there_and_back_changes_nothing(distribution):
    assert distribution_from_parameter(parameter_from_distribution(distribution)) == distribution


@given(distributions)
def test_the_ends_of_the_range_are_kept(distribution):
    parameter = parameter_from_distribution(distribution)
    if isinstance(distribution, CategoricalDistribution):
        assert parameter.values() == list(distribution.choices)
        return
    ends = [parameter.decode(np.array([unit])) for unit in (0.0, 1.0)]
    assert ends == pytest.approx([distribution.low, distribution.high])


@pytest.mark.parametrize(
    "single",
    [
        FloatDistribution(2.0, 2.0),
        FloatDistribution(2.0, 2.0, log=True),
        FloatDistribution(2.0, 2.0, step=1.0),
        IntDistribution(2, 2),
        CategoricalDistribution([2]),
    ],
)
def test_a_single_value_is_a_constant(single):
    assert parameter_from_distribution(single) == Constant(2)


def test_ordered_choices_and_constants_become_choices():
    assert distribution_from_parameter(Ordinal(["s", "m", "l"])) == CategoricalDistribution(["s", "m", "l"])
    assert distribution_from_parameter(Constant(None)) == CategoricalDistribution([None])


def test_a_high_bound_off_the_steps_is_lowered_without_optunas_warning():
    assert distribution_from_parameter(Float(0, 1, step=0.3)).high == 0.9
    assert distribution_from_parameter(Int(0, 10, step=4)).high == 8


def test_whole_spaces():
    space = Space({"lr": Float(1e-4, 1, log=True), "depth": Int(1, 8), "kind": Categorical(["a", None])})
    assert space_from_distributions(distributions_from_space(space)) == space


def test_what_optuna_cannot_hold_is_named():
    with pytest.raises(InputError, match=r"parameter 'f': .*None, bool, int, float and str"):
        distributions_from_space(Space({"f": Categorical([len, max])}))
    conditional = Space({"k": Categorical("ab"), "x": Float(0, 1)}, conditions={"x": Condition("k", ["a"])})
    with pytest.raises(InputError, match=r"conditions .* call trial\.suggest_"):
        distributions_from_space(conditional)
    with pytest.raises(InputError, match="forbidden"):
        distributions_from_space(Space({"x": Float(0, 1)}, forbidden=lambda c: False))
    with pytest.raises(SpaceError, match="nothing to search"):
        space_from_distributions({"x": FloatDistribution(1, 1)})


def test_other_kinds_are_refused():
    class Other(BaseDistribution):
        def to_internal_repr(self, value):
            return 0.0

        def single(self):
            return False

        def _contains(self, value):
            return True

    with pytest.raises(InputError, match=r"parameter 'x': .*FloatDistribution, IntDistribution or"):
        space_from_distributions({"x": Other()})
    with pytest.raises(InputError, match=r"a parameter of diffhpo\.space is needed"):
        distribution_from_parameter(3)
