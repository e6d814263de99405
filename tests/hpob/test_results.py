# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import os
import stat
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffhpo.errors import DataError, InputWarning
from diffhpo.hpob.results import check_results, read_results, runs, write_results

RESULTS = {"5971": {"43": {"test0": [0.1, 0.1 + 0.2, 1.0], "test1": [0.0, 0.5, 0.5]}}}

names = st.text(string.digits + "abc-", min_size=1, max_size=6)
curves = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        names,
        st.dictionaries(
            names, st.dictionaries(names, curves, min_size=1, max_size=3), min_size=1, max_size=3
        ),
        min_size=1,
        max_size=3,
    )
)
@pytest.mark.parametrize("name", ["m.json", "m.json.gz"])
def test_what_is_written_is_read_bit_for_bit(tmp_path: Path, name: str, results: Any) -> None:
    write_results(tmp_path / name, results)
    assert read_results(tmp_path / name) == results
    assert read_results(tmp_path / "m.json") == results


def test_numbers_of_numpy_are_written_as_numbers(tmp_path: Path) -> None:
    curve = np.array([0.25, 0.5], dtype=np.float32)
    write_results(tmp_path / "m.json", {"s": {"t": {"a": curve}}})  # type: ignore[dict-item]
    assert json.loads((tmp_path / "m.json").read_text()) == {"s": {"t": {"a": [0.25, 0.5]}}}


def test_every_run_comes_in_the_order_of_the_file() -> None:
    results = {"b": {"2": {"s1": [0.1], "s0": [0.2]}, "1": {"s0": [0.3]}}, "a": {"9": {"s0": [0.4, 0.5]}}}
    assert list(runs(results)) == [
        (("b", "2", "s1"), [0.1]),
        (("b", "2", "s0"), [0.2]),
        (("b", "1", "s0"), [0.3]),
        (("a", "9", "s0"), [0.4, 0.5]),
    ]


@pytest.mark.parametrize("method", ["RS-C", "GP-C", "DGP-C", "FSBO2-C", "OptFormer-EI", "Vizier"])
def test_published_curves_are_read(data_directory: Path, method: str) -> None:
    results = read_results(data_directory / "published-curves" / f"{method}.json")
    assert len(results) == 16
    every = list(runs(results))
    assert len(every) == 430
    assert len({(space, task) for (space, task, _), _ in every}) == 86
    assert {len(curve) for _, curve in every} == {101}


def test_falling_incumbents_are_kept_with_one_warning(tmp_path: Path) -> None:
    falling = {"s": {"t": {"a": [0.5, 0.4], "b": [0.4, 0.3]}}}
    write_results(tmp_path / "m.json", falling)
    with pytest.warns(InputWarning, match=r"2 runs .* space s, task t, seed a") as caught:
        assert read_results(tmp_path / "m.json") == falling
    assert len(caught) == 1
    assert read_results(tmp_path / "m.json", warn_falling=False) == falling


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({}, "results is dict"),
        ([1], "results is list"),
        ({"s": {}}, "results: space s is dict"),
        ({"s": [0.5]}, "space s is list"),
        ({"s": {"t": {}}}, "space s, task t is dict"),
        ({"s": {"t": {"a": []}}}, "seed a is .*filled list"),
        ({"s": {"t": {"a": 0.5}}}, "seed a is"),
        ({"s": {"t": {"a": "0.5"}}}, "seed a is"),
        ({"s": {"t": {"a": [0.5, 1.5]}}}, r"seed a, entry 1 is 1\.5; .*\[0, 1\]"),
        ({"s": {"t": {"a": [-0.1]}}}, r"entry 0 is -0\.1"),
        ({"s": {"t": {"a": [float("nan")]}}}, "entry 0 is nan"),
        ({"s": {"t": {"a": [None]}}}, "entry 0 is None"),
        ({"s": {"t": {"a": ["0.5"]}}}, "entry 0 is '0.5'"),
        ({"s": {"t": {"a": [True]}}}, "entry 0 is True"),
        ({"s": {"t": {"a": [[0.5]]}}}, r"entry 0 is \[0\.5\]"),
        ({5971: {"t": {"a": [0.5]}}}, "key 5971; names are strings"),
    ],
)
def test_wrong_results_are_refused_with_their_place(results: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        check_results(results)
    with pytest.raises(DataError, match=reason):
        write_results(tmp_path / "m.json", results)
    assert list(tmp_path.iterdir()) == []


def test_rounding_beyond_the_ends_is_taken_and_a_warning_points_at_the_callers_line() -> None:
    edge = {"s": {"t": {"a": [-1e-9, 1 + 1e-9]}}}
    assert check_results(edge) == edge
    for beyond in (-2e-9, 1 + 2e-9):
        with pytest.raises(DataError, match=r"entry 0 is .*numbers in \[0, 1\]"):
            check_results({"s": {"t": {"a": [beyond]}}})
    level = {"s": {"t": {"a": [0.5, 0.5], "b": [0.5]}}}
    assert check_results(level) == level  # a level curve does not fall
    with pytest.warns(InputWarning, match=r"1 runs .* seed b") as caught:
        check_results({"s": {"t": {"a": [0.5, 0.5], "b": [0.5, 0.7, 0.6]}}})
    assert [warning.filename for warning in caught] == [__file__]


def test_truncated_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json is missing"):
        read_results(tmp_path / "gone.json")
    write_results(tmp_path / "m.json", RESULTS)
    whole = (tmp_path / "m.json").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "m.json").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"m\.json is (truncated|empty|not valid JSON)"):
            read_results(tmp_path / "m.json")
    (tmp_path / "m.json").unlink()
    packed = gzip.compress(whole)
    for length in range(len(packed)):
        (tmp_path / "m.json.gz").write_bytes(packed[:length])
        with pytest.raises(DataError, match=r"m\.json\.gz is"):
            read_results(tmp_path / "m.json")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.json"
    write_results(file, RESULTS)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"m\.json was not written: No space left on device"):
        write_results(file, {"s": {"t": {"a": [0.5]}}})
    assert read_results(file) == RESULTS
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_cannot_be_made_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(DataError, match="was not written"):
        write_results(tmp_path / "plain" / "m.json", RESULTS)


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_results(tmp_path / "m.json", RESULTS)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "m.json")]
    assert modes[0] == modes[1]
