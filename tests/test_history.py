# SPDX-License-Identifier: Apache-2.0
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffhpo.errors import InputError, InputWarning
from diffhpo.history import History, check_configurations, check_pool
from diffhpo.space.parameter import UNIT_TOLERANCE

UNIT = {"allow_nan": False, "min_value": 0, "max_value": 1}


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[0.1], [float("nan")]], [1, 2], r"X_obs\[1, 0\] is nan.*\[0, 1\]"),
        ([[0.1, 1.1]], [1], r"X_obs\[0, 1\] is 1.1"),
        ([[0.1, -np.inf]], [1], r"X_obs\[0, 1\] is -inf"),
        ([0.1, 0.2], [1, 2], r"X_obs has shape \(2,\).*reshape"),
        ([[[0.1]]], [1], r"X_obs has shape \(1, 1, 1\)"),
        ([[0.1], [0.2]], [1], r"y_obs has shape \(1,\).*\(2,\)"),
        ([[0.1], [0.2]], [[1, 2]], r"y_obs has shape \(1, 2\)"),
        ([[0.1], [0.2]], [1, float("nan")], r"y_obs\[1\] is nan.*failed"),
        ([[0.1], [0.2, 0.3]], [1, 2], r"X_obs is not a rectangular"),
        ([["a"]], [1], r"X_obs has dtype <U1"),
        ([[1j]], [1], r"X_obs has dtype complex128"),
        ([[None]], [1], r"X_obs has dtype object"),
        (torch.zeros(1, 1, dtype=torch.complex64), [1], r"X_obs has dtype complex64"),
        (np.empty((3, 0)), [1, 2, 3], r"at least one dimension"),
        (np.empty((0, 2, 3)), [], r"X_obs has shape \(0, 2, 3\); a matrix"),
        ([[0.1], [0.2]], np.empty((2, 0)), r"y_obs has shape \(2, 0\); one value"),
    ],
)
def test_bad_input_is_named_with_its_place_and_remedy(x, y, message):
    with pytest.raises(InputError, match=message):
        History.from_arrays(x, y)


def test_values_within_the_tolerance_are_clipped_and_none_beyond():
    assert History([[1 + 9e-7, -9e-7]], [0.0]).x.tolist() == [[1.0, 0.0]]
    assert History([[1 + UNIT_TOLERANCE, -UNIT_TOLERANCE]], [0.0]).x.tolist() == [[1.0, 0.0]]
    with pytest.raises(InputError):
        History([[1 + 2e-6]], [0.0])


@pytest.mark.parametrize(
    ("y", "clipped"),
    [
        ([1.0, np.inf, 3.0], [1.0, 3.0, 3.0]),
        ([1.0, -np.inf, 3.0], [1.0, 1.0, 3.0]),
        ([np.inf, -np.inf], [1.0, -1.0]),
    ],
)
def test_infinite_values_are_clipped_with_a_warning(y, clipped):
    x = np.linspace(0, 1, len(y)).reshape(-1, 1)
    with pytest.warns(InputWarning, match="infinite"):
        assert History(x, y).y.tolist() == clipped


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.tolist(),
        lambda a: a.astype(np.float32),
        lambda a: a.astype(np.float16),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: torch.tensor(a, requires_grad=True),
        lambda a: torch.tensor(a, dtype=torch.bfloat16),
        lambda a: a > 0.5,
    ],
)
def test_any_container_of_reals_is_read(convert):
    x = np.array([[0.0, 1.0], [1.0, 0.0]])
    history = History(convert(x), [1, 2])
    assert history.x.dtype == np.float64
    np.testing.assert_array_equal(history.x, x)


def test_the_callers_arrays_are_copied_and_ours_are_read_only():
    x, y = np.array([[0.1], [1 + 1e-7]]), np.array([1.0, 2.0])
    history = History(x, y)
    x[0], y[0] = 0.9, 9.0
    assert history.x[0, 0] == 0.1
    assert history.y[0] == 1.0
    assert x[1, 0] == 1 + 1e-7
    with pytest.raises(ValueError, match="read-only"):
        history.x[0] = 0


def test_repeats_are_kept_if_their_values_differ():
    history = History([[0.1], [0.2], [0.1], [0.1]], [1.0, 2.0, 1.0, 3.0])
    assert history.x[:, 0].tolist() == [0.1, 0.2, 0.1]
    assert history.y.tolist() == [1.0, 2.0, 3.0]


def test_which_of_many_repeats_are_kept():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, size=(200, 2)) / 2
    x[rng.integers(0, 200, 20), 0] = -0.0
    y = rng.integers(0, 2, size=200) * 1.0
    seen, kept = set(), []
    for row in np.column_stack([x, y]).tolist():
        if tuple(row) not in seen:  # -0.0 is 0.0 here, too
            seen.add(tuple(row))
            kept.append(row)
    history = History(x, y)
    assert np.column_stack([history.x, history.y]).tolist() == kept


def test_an_empty_history_knows_its_dimension():
    history = History(np.empty((0, 4)), [])
    assert (len(history), history.dim) == (0, 4)
    with pytest.raises(InputError, match="empty"):
        _ = history.best


def test_an_empty_list_has_the_dimension_that_the_caller_or_other_trials_tell():
    assert (len(History([], [])), History([], []).dim) == (0, 0)
    assert check_configurations([], "x", 3).shape == (0, 3)
    assert check_configurations(np.empty((0, 5)), "x", 3).shape == (0, 3)
    for others in ({"failed": [[0.1, 0.2]]}, {"pending": [[0.1, 0.2]]}):
        history = History([], [], **others)
        assert history.dim == 2
        assert history.seen.tolist() == [[0.1, 0.2]]
    with pytest.raises(InputError, match="pending has 1 columns; 2 are needed"):
        History([], [], failed=[[0.1, 0.2]], pending=[[0.3]])
    with pytest.raises(InputError, match="failed has 1 columns; 2 are needed"):
        History([[0.1, 0.2]], [1.0], failed=[[0.3]])


@pytest.mark.parametrize("name", ["failed", "pending"])
@pytest.mark.parametrize("part", [[[0.3], [0.4]], [[0.3, 0.4, 0.5]], [[0.3, 0.4, 0.5]] * 2])
def test_every_part_has_the_columns_of_the_first(name, part):
    with pytest.raises(InputError, match=f"{name} has {len(part[0])} columns; 2 are needed"):
        History([[0.1, 0.2]], [1.0], **{name: part})


def test_one_number_is_no_matrix():
    with pytest.raises(InputError, match=r"x has shape \(1,\)"):
        History([0.5], [1.0])
    with pytest.raises(InputError, match=r"y has shape \(1, 1, 1\)"):
        History([[0.5]], [[[1.0]]])
    assert History([[0.5], [0.6]], [[1.0], [2.0]]).y.tolist() == [1.0, 2.0]


def test_the_first_bad_value_is_the_one_that_is_named():
    with pytest.raises(InputError, match=r"x\[1, 0\] is 2.0"):
        History([[0.1, 0.2], [2.0, 3.0], [4.0, 0.1]], [1, 2, 3])
    with pytest.raises(InputError, match=r"y\[1\] is nan"):
        History([[0.1], [0.2], [0.3]], [1.0, np.nan, np.nan])


def test_a_warning_points_at_the_callers_line():
    with pytest.warns(InputWarning, match=r"y holds 2 infinite values.*\[1.0, 3.0\]") as caught:
        History([[0.1], [0.2], [0.3], [0.4]], [1.0, np.inf, -np.inf, 3.0])
    assert [warning.filename for warning in caught] == [__file__]


def test_two_equal_trials_are_one():
    history = History([[0.1], [0.1]], [1.0, 1.0], failed=[[0.2]], pending=[[0.3], [0.4]])
    assert len(history) == 1
    assert history.seen.ravel().tolist() == [0.1, 0.2, 0.3, 0.4]
    assert history.best == 1.0


def test_best_latest_and_spread_by_hand():
    """Of 12 trials seven: the best two are 0 and 1, the latest 10 and 11, and 2 to 9 are spread."""
    history = History(np.arange(12)[:, None] / 11, [9, 8, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1], failed=[[0.01]])
    bounded = history.bounded(7)
    assert (bounded.x[:, 0] * 11).round().tolist() == [0, 1, 2, 6, 9, 10, 11]
    assert bounded.failed.tolist() == [[0.01]]
    assert len(history.bounded(3)) == 3
    with pytest.raises(InputError, match="size is 2; a whole number of 3 or more"):
        history.bounded(2)
    # The earliest of equals are the best, and one that is among the latest too leaves a place to the rest.
    equal = History(np.arange(9)[:, None] / 8, np.ones(9))
    assert (equal.bounded(6).x[:, 0] * 8).round().tolist() == [0, 1, 2, 6, 7, 8]
    rising = History(np.arange(9)[:, None] / 8, np.arange(9))
    assert (rising.bounded(6).x[:, 0] * 8).round().tolist() == [0, 2, 4, 6, 7, 8]


def test_a_pool_is_read_as_configurations_are():
    assert check_pool([[0.5, 1 + 1e-7]], 2).tolist() == [[0.5, 1.0]]


def test_an_empty_pool_is_refused():
    with pytest.raises(InputError, match="no pending configuration"):
        check_pool(np.empty((0, 2)), 2)
    with pytest.raises(InputError, match="X_pen has 3 columns; 2"):
        check_pool(np.zeros((1, 3)), 2)


@given(
    y=hnp.arrays(float, st.integers(1, 300), elements=st.floats(allow_nan=False, allow_infinity=False)),
    size=st.integers(3, 100),
)
def test_a_bounded_history_keeps_the_best_and_the_latest(y, size):
    x = np.linspace(0, 1, len(y)).reshape(-1, 1)
    bounded = History(x, y).bounded(size)
    assert len(bounded) == min(len(y), size)
    assert bounded.best == y.max()
    assert bounded.x[-1, 0] == x[-1, 0]
    assert (np.diff(bounded.x[:, 0]) > 0).all() or len(bounded) == 1


@given(
    x=hnp.arrays(float, (5, 2), elements=st.floats(width=32, **UNIT)),
    y=st.lists(st.floats(), min_size=5, max_size=5),
)
def test_every_history_is_finite_or_an_input_error(x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        try:
            history = History(x, y)
        except InputError:
            assert np.isnan(y).any()
        else:
            assert np.isfinite(history.y).all()
