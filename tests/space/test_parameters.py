# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffhpo.errors import SpaceError
from diffhpo.space import Categorical, Constant, Float, Int, Ordinal, Space


def finite(low, high):
    return st.floats(low, high, allow_nan=False)


@st.composite
def parameters(draw):
    kinds = ["float", "log", "step", "int", "logint", "intstep", "categorical", "ordinal", "constant"]
    kind = draw(st.sampled_from(kinds))
    if kind in ("categorical", "ordinal"):
        choices = draw(st.lists(st.integers(), min_size=2, max_size=6, unique=True))
        return Categorical(choices) if kind == "categorical" else Ordinal(choices)
    if kind == "constant":
        return Constant(draw(st.text()))
    if kind == "step":
        low, step = draw(st.integers(-50, 50)) / 10, draw(st.integers(1, 300)) / 100
        return Float(low, low + step * draw(finite(1.01, 200)), step=step)
    if kind == "intstep":
        low, step = draw(st.integers(-1000, 1000)), draw(st.integers(1, 50))
        return Int(low, low + step * draw(st.integers(1, 100)) + draw(st.integers(0, step - 1)), step=step)
    if kind == "float":
        low = draw(finite(-1e6, 1e6))
        return Float(low, low + draw(finite(1e-3, 1e6)))
    if kind == "log":
        low = draw(finite(1e-9, 1e3))
        return Float(low, low * draw(finite(1.1, 1e9)), log=True)
    low = draw(st.integers(1 if kind == "logint" else -1000, 1000))
    return Int(low, low + draw(st.integers(1, 10_000)), log=kind == "logint")


@given(parameter=parameters(), data=st.data())
def test_every_point_of_the_cube_is_a_value_that_encodes_and_decodes_to_itself(parameter, data):
    unit = np.array([data.draw(finite(0, 1)) for _ in range(parameter.width)])
    value = parameter.decode(unit)
    encoded = parameter.encode(value)
    assert encoded.shape == (parameter.width,)
    assert ((encoded >= 0) & (encoded <= 1)).all()
    again = parameter.decode(encoded)
    if parameter.kind == 0:
        assert again == pytest.approx(value, rel=1e-9, abs=1e-9 * (parameter.high - parameter.low))
    else:
        assert again == value
        assert value in parameter.values()
    snapped = parameter.snap(unit[None])[0]
    assert parameter.decode(snapped) == value
    np.testing.assert_allclose(snapped, encoded, atol=1e-6 if parameter.kind == 0 else 0)
    if parameter.kind != 0:
        assert parameter.values()[parameter.level(unit[None])[0]] == value


@given(low=st.integers(1, 50), count=st.integers(2, 60), log=st.booleans())
def test_every_whole_number_owns_a_share_of_the_axis(low, count, log):
    parameter = Int(low, low + count - 1, log=log)
    values = {parameter.decode(np.array([u])) for u in np.linspace(0, 1, 2_000)}
    assert values == set(range(low, low + count))
    if not log:
        first = np.mean([parameter.decode(np.array([u])) == low for u in np.linspace(0, 1, 2_000)])
        assert first == pytest.approx(1 / count, rel=0.05)


def test_log_scale_puts_the_geometric_mean_in_the_middle():
    assert Float(1e-6, 1e2, log=True).decode(np.array([0.5])) == pytest.approx(1e-2)


def test_one_hot_takes_the_largest_column_and_two_choices_one_column():
    three = Categorical(["a", "b", "c"])
    assert three.decode(np.array([0.2, 0.9, 0.3])) == "b"
    two = Categorical([False, True])
    assert two.width == 1
    assert two.decode(np.array([0.51])) is True
    assert [two.decode(two.encode(choice)) for choice in (False, True)] == [False, True]
    mixed = Categorical([1, True, "1", None])
    assert [mixed.decode(mixed.encode(choice)) for choice in mixed.choices] == [1, True, "1", None]


def test_a_space_lists_its_configurations():
    space = Space({"a": Int(1, 3), "b": Categorical("xyz"), "c": Categorical([0, 1])})
    units = space.all_units()
    assert len(units) == space.size == 18
    assert len({tuple(space.decode(unit).items()) for unit in units}) == 18
    np.testing.assert_array_equal(space.snap(units), units)
    with pytest.raises(SpaceError, match="Float"):
        Space({"a": Float(0, 1)}).all_units()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(1, 1), r"low < high"),
        (lambda: Float(0, math.inf), r"finite"),
        (lambda: Float(float("nan"), 1), r"finite"),
        (lambda: Float(0, 1, log=True), r"low > 0"),
        (lambda: Int(0, 1.5), r"whole"),
        (lambda: Categorical(["a"]), r"two or more"),
        (lambda: Categorical(["a", "a"]), r"'a' comes twice"),
        (lambda: Space({}), r"no parameter"),
        (lambda: Space({"a": 3}), r"'a' is int"),
        (lambda: Space({str(k): Float(0, 1) for k in range(1001)}), r"1001 dimensions"),
        (lambda: Space({"a": Float(0, 1)}).encode({"b": 1}), r"lacks \['a'\].*unknown \['b'\]"),
        (lambda: Space({"a": Float(0, 1)}).encode({"a": 2}), r"'a'.*2 is outside \[0, 1\]"),
        (lambda: Space({"a": Float(0, 1)}).encode({"a": "x"}), r"'a'.*not a number"),
        (lambda: Space({"a": Float(0, 1)}).encode({"a": float("nan")}), r"'a'.*outside"),
        (lambda: Space({"a": Int(0, 5)}).encode({"a": 1.5}), r"'a'.*whole number"),
        (lambda: Space({"a": Categorical("xy")}).encode({"a": "z"}), r"'a'.*one of \['x', 'y'\]"),
    ],
)
def test_bad_spaces_and_values_are_named(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_steps_are_the_decimals_that_the_user_wrote():
    parameter = Float(0.0, 1.0, step=0.1)
    assert parameter.values() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert Float(0.0, 1.0, step=0.3).values() == [0.0, 0.3, 0.6, 0.9]
    assert Int(16, 130, step=16).values()[-1] == 128
    assert parameter.encode(0.1 * 3) == parameter.encode(0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(0, 1, step=0), r"step is 0"),
        (lambda: Float(0, 1, step=2), r"step is 2"),
        (lambda: Float(1, 2, log=True, step=0.1), r"exclude"),
        (lambda: Int(1, 8, log=True, step=2), r"exclude"),
        (lambda: Int(1, 8, step=1.5), r"step is 1.5; a whole"),
        (lambda: Int(1, 8, step=9), r"step is 9"),
        (lambda: Float(0, 1, step=0.3).encode(0.5), r"multiple of 0.3"),
        (lambda: Float(0, 1, step=0.3).encode(1.0), r"multiple of 0.3"),
        (lambda: Int(1, 9, step=3).encode(5), r"multiple of 3"),
        (lambda: Ordinal(["a"]), r"Ordinal.*two or more"),
        (lambda: Ordinal(["a", "b"]).encode("c"), r"'c' is not one of"),
        (lambda: Constant(3).encode(4), r"4 is not the constant 3"),
        (lambda: Space({"a": Constant(3)}), r"constants only"),
        (lambda: Float(True, 2), r"True is not a number"),
    ],
)
def test_bad_steps_orders_and_constants_are_named(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_choices_may_be_any_objects():
    array, other = np.arange(3), np.arange(3)
    parameter = Categorical([array, [1, 2], float("nan"), other])
    for index, choice in enumerate(parameter.choices):
        assert parameter.encode(choice).argmax() == index
    assert parameter.decode(parameter.encode(other)) is other


def test_a_log_whole_number_agrees_with_its_definition():
    """v owns log(v - 1/2) to log(v + 1/2), so its share is their distance."""
    parameter = Int(1, 64, log=True)
    u = (np.arange(200_000) + 0.5) / 200_000
    shares = np.bincount(parameter.level(u[:, None]), minlength=64) / len(u)
    v = np.arange(1, 65)
    np.testing.assert_allclose(shares, np.log((v + 0.5) / (v - 0.5)) / np.log(64.5 / 0.5), atol=2e-5)
    ends = parameter.encode(64)[0] - parameter.encode(63)[0]
    assert parameter.unit_step == pytest.approx(ends)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float("0", 1), r"Float: low: '0' is not a number"),
        (lambda: Float(0, 10**400), r"high: .*1329 bits is beyond double"),
        (lambda: Float(0, 1, step="0.1"), r"step: '0.1' is not a number"),
        (lambda: Float(0.1, 1, log="false"), r"log is 'false'; True or False"),
        (
            lambda: Float(1e300, math.nextafter(1e300, math.inf), log=True),
            r"logarithms of the bounds are equal",
        ),
        (lambda: Float(1e16, 1e16 + 8, step=0.5), r"step 0.5 is too small"),
        (lambda: Float(0, 1).encode(10**400), r"beyond double"),
        (lambda: Int(1, 10**5000), r"high: .*bits is beyond double"),
        (lambda: Int(1, 5, step=math.nan), r"step is nan; a whole"),
        (lambda: Int(1, 5, step=math.inf), r"step is inf; a whole"),
        (lambda: Int(1, 5, log=1), r"log is 1; True or False"),
        (lambda: Int(1, 2**45, log=True), r"above 2\*\*44"),
        (lambda: Int(1, 5).encode(math.nan), r"nan is not a whole"),
        (lambda: Int(1, 5).encode(math.inf), r"inf is not a whole"),
        (lambda: Int(1, 5).encode(10**400), r"beyond double"),
    ],
)
def test_numbers_that_cannot_be_held_are_named(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_bounds_whose_distance_overflows_are_searched_over_their_whole_length():
    parameter = Float(-1e308, 1e308)
    for value, unit in ((-1e308, 0.0), (-5e307, 0.25), (0.0, 0.5), (1e308, 1.0)):
        assert parameter.encode(value)[0] == pytest.approx(unit)
        assert parameter.decode(np.array([unit])) == pytest.approx(value)


@given(value=st.integers(2**44 - 10**6, 2**44))
def test_the_largest_log_whole_numbers_come_back_from_the_cube(value):
    parameter = Int(1, 2**44, log=True)
    assert parameter.decode(parameter.encode(value)) == value


def test_numpy_numbers_become_plain_ones():
    parameter = Float(np.float64(0.25), np.float32(1), log=np.True_)
    assert repr(parameter) == "Float(low=0.25, high=1.0, log=True)"
    space = Space(
        {"a": parameter, "b": Int(np.int8(1), np.uint64(9)), "c": Float(0, 1, step=np.float64(0.5))}
    )
    assert Space.from_json(space.to_json()) == space
