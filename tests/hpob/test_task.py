# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffhpo.errors import DataError
from diffhpo.hpob.task import Task

X = [[0.0, 0.5], [0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [1.0, 0.5], [0.1, 0.1], [0.2, 0.2]]
Y = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def level(x: Any) -> np.ndarray:
    """Stands in for a surrogate."""
    return np.zeros(len(x))


def task(**more: Any) -> Task:
    return Task("space", "name", X, Y, source=Path("tables.json"), **more)


def test_a_task_holds_its_table_read_only() -> None:
    x = np.array(X)
    made = Task("space", "name", x, np.array(Y)[:, None])
    x[0] = 9.0
    assert made.x.tolist() == X
    assert made.y.tolist() == Y
    assert (len(made), made.dim, str(made)) == (7, 2, "task name of space space")
    for array in (made.x, made.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:6], Y, r"X has shape \(6, 2\) and y has 7 values in tables.json"),
        (X, Y[:6], r"X has shape \(7, 2\) and y has 6 values"),
        (np.zeros((7, 1, 1)), Y, r"X has shape \(7, 1, 1\)"),
        ([1.0, 2.0], [1.0, 2.0], r"X has shape \(2,\)"),
        (np.empty((0, 2)), [], r"X has shape \(0, 2\) and y has 0"),
        (np.empty((2, 0)), [1.0, 2.0], r"X has shape \(2, 0\)"),
        ([[1.0], [2.0, 3.0]], [1.0, 2.0], r"X in tables.json is no table of numbers"),
        ([[1.0]], ["a"], r"y in tables.json is no table of numbers"),
        ([[0.0], [np.nan], [np.inf]], [1.0, 2.0, 3.0], r"row 1 of X in tables.json is not finite"),
        ([[0.0], [0.1], [0.2]], [1.0, 2.0, -np.inf], r"row 2 of y in tables.json is not finite"),
    ],
)
def test_bad_tables_are_named(x: Any, y: Any, message: str) -> None:
    with pytest.raises(DataError, match="task name of space space: " + message):
        Task("space", "name", x, y, source=Path("tables.json"))


def test_an_initial_design_is_cut_to_five_rows() -> None:
    made = task(initial={"a": [6, 0, 3, 2, 1, 5], "b": (0, 1, 2, 3, 4)})
    assert made.seeds() == ["a", "b"]
    assert made.initial("a") == [6, 0, 3, 2, 1]
    assert made.initial("b") == [0, 1, 2, 3, 4]
    made.initial("a").append(7)
    assert made.initial("a") == [6, 0, 3, 2, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1, 2, 3], r"initial design 'a' is \[0, 1, 2, 3\]; a list of 5"),
        ("01234", r"is '01234'; a list of 5"),
        ({0: 1}, r"a list of 5"),
        ([0, 1, 2, 3, 7], r"has row 7; rows are whole numbers from 0 to 6"),
        ([0, 1, 2, 3, 100], r"has row 100"),
        ([-1, 1, 2, 3, 4], r"has row -1"),
        ([0, 1, 2, 3, True], r"has row True"),
        ([0, 1, 2, 3, 4.0], r"has row 4.0"),
        ([0, 1, 2, 3, 3], r"is \[0, 1, 2, 3, 3\]; a row is given twice"),
    ],
)
def test_bad_initial_designs_are_named(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task(initial={"a": rows}).initial("a")


def test_an_unknown_initial_design_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no initial design 'z'; there are: a, b"):
        task(initial={"a": [0, 1, 2, 3, 4], "b": []}).initial("z")
    with pytest.raises(DataError, match=r"no initial design 'z'; there are: none"):
        task().initial("z")


def test_the_range_and_the_surrogate_are_those_given_or_their_lack_is_named() -> None:
    made = task(response_range=(-1.0, 2.0), surrogate=level)
    assert (made.y_min, made.y_max, made.surrogate) == (-1.0, 2.0, level)
    with pytest.raises(DataError, match=r"no y_min and y_max in summary-stats.json.*data fetch"):
        _ = task().y_min
    with pytest.raises(DataError, match=r"its surrogate is missing \(surrogate-space-name.json\)"):
        _ = task().surrogate
    with pytest.raises(DataError, match=r"summary-stats.json names it, but its file is missing"):
        _ = task(response_range=(0.0, 1.0)).surrogate


def test_other_initial_designs_leave_the_rest_as_it_is() -> None:
    made = task(response_range=(-1.0, 2.0), surrogate=level, initial={"a": [0, 1, 2, 3, 4]})
    other = made.with_initial({"b": [1, 2, 3, 4, 5]})
    assert (made.seeds(), other.seeds()) == (["a"], ["b"])
    assert (other.space, other.name, other.y_max, other.surrogate) == ("space", "name", 2.0, level)
    np.testing.assert_array_equal(other.x, made.x)
    with pytest.raises(DataError, match=r"row 0 of X in tables.json is not finite"):
        Task("s", "t", [[np.nan]], [1.0], source=other._source)
