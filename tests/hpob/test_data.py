# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffhpo.errors import DataError, DependencyError, InputError
from diffhpo.hpob.data import Benchmark, Task


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(tiny_root, tmp_path / "copy")


def edit(file: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def gzip_all(root: Path) -> None:
    for file in list(root.rglob("*.json")):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


@pytest.mark.parametrize("packed", [False, True])
def test_names_tables_and_designs_are_those_of_the_files(root: Path, packed: bool) -> None:
    table = json.loads((root / "hpob-data" / "meta-test-dataset.json").read_text())
    ranges = json.loads((root / "saved-surrogates" / "summary-stats.json").read_text())
    if packed:
        gzip_all(root)
    benchmark = Benchmark(root)
    assert benchmark.spaces() == ["100", "200"]
    assert benchmark.tasks("100") == ["1", "2"]
    assert benchmark.seeds("200", "7") == ["test0", "test1"]
    task = benchmark.task("200", "7")
    assert (task.space, task.name, task.dim, len(task)) == ("200", "7", 3, 40)
    assert task.x.dtype == task.y.dtype == np.float64
    np.testing.assert_array_equal(task.x, table["200"]["7"]["X"])
    np.testing.assert_array_equal(task.y.reshape(-1, 1), table["200"]["7"]["y"])
    assert task.seeds() == ["test0", "test1"]
    assert task.initial("test1") == [5, 4, 1, 2, 39]
    assert {"y_min": task.y_min, "y_max": task.y_max} == ranges["surrogate-200-7"]
    assert task.surrogate(task.x).shape == (40,)


def test_arrays_are_read_only_and_initial_is_a_copy(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    with pytest.raises(ValueError, match="read-only"):
        task.x[0, 0] = 0.5
    task.initial("test0").append(9)
    assert task.initial("test0") == [0, 7, 3, 11, 20]


def test_each_file_is_read_once_and_only_on_demand(root: Path) -> None:
    benchmark = Benchmark(root)
    task = benchmark.task("100", "1")
    shutil.rmtree(root / "hpob-data")
    assert benchmark.task("100", "2").dim == 2
    task.surrogate(task.x)
    shutil.rmtree(root / "saved-surrogates")
    task.surrogate(task.x)
    with pytest.raises(DataError, match=r"surrogate-100-2\.json"):
        _ = benchmark.task("100", "2").surrogate


def test_the_data_directory_itself_and_a_surrogate_directory_are_accepted(root: Path, tmp_path: Path) -> None:
    assert Benchmark(root / "hpob-data").task("100", "1").y_max
    moved = shutil.move(root / "saved-surrogates", tmp_path / "elsewhere")
    assert Benchmark(root, surrogates=moved).task("100", "1").y_max
    with pytest.raises(DataError, match="no directory"):
        Benchmark(root, surrogates=tmp_path / "nowhere")


def test_without_surrogates_the_discrete_part_works(root: Path) -> None:
    shutil.rmtree(root / "saved-surrogates")
    task = Benchmark(root).task("100", "1")
    assert len(task) == 40
    with pytest.raises(DataError, match="diffhpo data fetch"):
        _ = task.y_min
    with pytest.raises(DataError, match=r"surrogate-100-1\.json"):
        _ = task.surrogate


def test_other_splits_have_their_own_file_and_no_designs(root: Path) -> None:
    (root / "hpob-data" / "meta-test-dataset.json").rename(root / "hpob-data" / "meta-train-dataset.json")
    (root / "hpob-data" / "bo-initializations.json").unlink()
    benchmark = Benchmark(root, split="train")
    assert benchmark.seeds("100", "1") == []
    with pytest.raises(DataError, match="no initial design 'test0'; there are: none"):
        benchmark.task("100", "1").initial("test0")
    with pytest.raises(DataError, match=r"meta-test-dataset\.json is missing"):
        Benchmark(root)
    with pytest.raises(DataError, match="split is 'text'"):
        Benchmark(root, split="text")


# What is missing ----------------------------------------------------------------------------------


def test_missing_directory_and_files_are_named_with_the_remedy(root: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is no directory; .*diffhpo data fetch"):
        Benchmark(root / "nowhere")
    (root / "hpob-data" / "bo-initializations.json").unlink()
    with pytest.raises(DataError, match=r"bo-initializations\.json is missing .*diffhpo data fetch"):
        Benchmark(root)


def test_unknown_names_come_with_the_nearest_ones(tiny_root: Path) -> None:
    benchmark = Benchmark(tiny_root)
    with pytest.raises(DataError, match=r"space '101' is not in .*meta-test-dataset\.json.*: 100"):
        benchmark.tasks("101")
    with pytest.raises(DataError, match=r"task of space 100: '3'.*1, 2"):
        benchmark.task("100", "3")
    with pytest.raises(DataError, match="'3'"):
        benchmark.seeds("100", "3")
    with pytest.raises(DataError, match="'test9'; there are: test0, test1"):
        benchmark.task("100", "1").initial("test9")


def test_statistics_without_the_surrogate_say_so(root: Path) -> None:
    (root / "saved-surrogates" / "surrogate-100-1.json").unlink()
    task = Benchmark(root).task("100", "1")
    assert task.y_min < task.y_max
    with pytest.raises(DataError, match=r"summary-stats\.json names it, but its file is missing"):
        _ = task.surrogate


def test_surrogate_without_statistics_says_so(root: Path) -> None:
    edit(root / "saved-surrogates" / "summary-stats.json", lambda value: value.pop("surrogate-100-1"))
    with pytest.raises(DataError, match="no y_min and y_max"):
        _ = Benchmark(root).task("100", "1").y_max


@pytest.mark.parametrize("entry", [{}, {"y_min": 1, "y_max": 0}, {"y_min": "a", "y_max": 1}, 3])
def test_bad_statistics_are_refused(root: Path, entry: Any) -> None:
    edit(root / "saved-surrogates" / "summary-stats.json", lambda v: v.update({"surrogate-100-1": entry}))
    with pytest.raises(DataError, match=r"summary-stats\.json: surrogate-100-1"):
        Benchmark(root).task("100", "1")


# What is damaged ----------------------------------------------------------------------------------


@pytest.mark.fault(27)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["hpob-data/meta-test-dataset.json", "hpob-data/bo-initializations.json"])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_json_names_its_file(root: Path, name: str, share: float, packed: bool) -> None:
    if packed:
        gzip_all(root)
        name += ".gz"
    file = root / name
    contents = file.read_bytes()
    file.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(DataError, match=f"{file.name} is (truncated|not a complete gzip file).*again"):
        Benchmark(root).task("100", "1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "is empty"), ("[1, 2]", "holds a JSON list"), ('{"100": nan}', "is not valid JSON")],
)
def test_wrong_json_names_its_file(root: Path, text: str, reason: str) -> None:
    (root / "hpob-data" / "meta-test-dataset.json").write_text(text)
    with pytest.raises(DataError, match=rf"meta-test-dataset\.json {reason}"):
        Benchmark(root).spaces()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"X": [[0.1], [0.2, 0.3]], "y": [[1], [2]]}, "X in .* is no table of numbers"),
        ({"X": [[0.1], [0.2]], "y": [["a"], [2]]}, "y in .* is no table of numbers"),
        ({"X": [[0.1], [0.2]], "y": [[1], [float("nan")]]}, "row 1 of y in .* is not finite"),
        ({"X": [[0.1], [float("inf")]], "y": [[1], [2]]}, "row 1 of X in .* is not finite"),
        ({"X": [[0.1], [0.2]], "y": [[1]]}, r"X has shape \(2, 1\) and y has 1 values"),
        ({"X": [], "y": []}, r"X has shape \(0,\)"),
        ({"X": [[0.1]]}, "lacks X or y"),
        (5, "lacks X or y"),
    ],
)
def test_damaged_table_is_named_and_the_others_stay_usable(root: Path, table: Any, reason: str) -> None:
    edit(root / "hpob-data" / "meta-test-dataset.json", lambda value: value["100"].update({"1": table}))
    benchmark = Benchmark(root)
    with pytest.raises(DataError, match=reason) as caught:
        benchmark.task("100", "1")
    assert "meta-test-dataset.json" in str(caught.value)
    assert benchmark.task("100", "2").dim == 2


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([0, 1, 2, 3, 3], "a row is given twice"),
        ([0, 1, 2, 3, 40], "row 40; rows are whole numbers from 0 to 39"),
        ([0, 1, 2, 3, -1], "row -1"),
        ([0, 1, 2, 3, 1.0], r"row 1\.0"),
        ([0, 1, 2, 3, True], "row True"),
        ([0, 1, 2, 3], "5 row numbers"),
        ("01234", "5 row numbers"),
    ],
)
def test_bad_initial_design_is_refused(root: Path, rows: Any, reason: str) -> None:
    edit(root / "hpob-data" / "bo-initializations.json", lambda v: v["100"]["1"].update(test0=rows))
    task = Benchmark(root).task("100", "1")
    with pytest.raises(DataError, match=reason):
        task.initial("test0")
    assert task.initial("test1")


def test_designs_that_are_no_object_are_refused(root: Path) -> None:
    edit(root / "hpob-data" / "bo-initializations.json", lambda v: v["100"].update({"1": [0, 1]}))
    with pytest.raises(DataError, match=r"bo-initializations\.json: space 100, task 1"):
        Benchmark(root).seeds("100", "1")


def test_a_longer_design_is_cut_to_five(root: Path) -> None:
    edit(root / "hpob-data" / "bo-initializations.json", lambda v: v["100"]["1"].update(test0=[*range(7)]))
    assert Benchmark(root).task("100", "1").initial("test0") == [0, 1, 2, 3, 4]


# Surrogates ---------------------------------------------------------------------------------------


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(0, 30), st.just(3)),
        elements=st.floats(-1, 2) | st.sampled_from([0.0, 0.5, 1.0, 1e-300, 1 / 3]),
    )
)
def test_predictions_equal_those_of_a_dmatrix(tiny_root: Path, x: np.ndarray) -> None:
    xgboost = pytest.importorskip("xgboost")
    booster = xgboost.Booster(model_file=tiny_root / "saved-surrogates" / "surrogate-200-7.json")
    surrogate = Benchmark(tiny_root).task("200", "7").surrogate
    predicted = surrogate(x)
    assert predicted.dtype == np.float64
    assert predicted.shape == (len(x),)
    if len(x):
        np.testing.assert_array_equal(predicted, booster.predict(xgboost.DMatrix(x)))
        np.testing.assert_array_equal(predicted, np.concatenate([surrogate(row[None]) for row in x]))


def test_predictions_on_the_published_surrogates_equal_those_of_a_dmatrix(data_directory: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    root = data_directory / "hpob-reduced"
    benchmark = Benchmark(root)
    rng = np.random.default_rng(0)
    for space in benchmark.spaces():
        task = benchmark.task(space, benchmark.tasks(space)[0])
        booster = xgboost.Booster(
            {"nthread": 1}, model_file=root / "saved-surrogates" / f"surrogate-{space}-{task.name}.json"
        )
        x = np.concatenate([task.x, rng.random((500, task.dim))])
        np.testing.assert_array_equal(task.surrogate(x), booster.predict(xgboost.DMatrix(x)))


def test_surrogate_takes_any_layout_and_leaves_it_alone(tiny_root: Path) -> None:
    surrogate = Benchmark(tiny_root).task("100", "1").surrogate
    x = np.random.default_rng(0).random((6, 2))
    expected = surrogate(x)
    wide = np.zeros((6, 4))
    wide[:, ::2] = x
    for same in (np.asfortranarray(x), wide[:, ::2], x.tolist()):
        np.testing.assert_array_equal(surrogate(same), expected)
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(surrogate(frozen), expected)
    assert surrogate(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.zeros(2), r"shape \(2,\); \(k, 2\)"),
        (np.zeros((1, 3)), r"shape \(1, 3\)"),
        ([[0.1, np.nan]], r"x\[0, 1\] is nan"),
        ([[0.1, 0.2], [np.inf, 0.2]], r"x\[1, 0\] is inf"),
        ([["a", "b"]], "not an array of numbers"),
        ([[0.1], [0.2, 0.3]], "not an array of numbers"),
    ],
)
def test_surrogate_refuses_bad_configurations(tiny_root: Path, x: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Benchmark(tiny_root).task("100", "1").surrogate(x)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_truncated_surrogate_is_named_and_ends_no_process(root: Path, share: float) -> None:
    file = root / "saved-surrogates" / "surrogate-100-1.json"
    contents = file.read_bytes()
    file.write_bytes(contents[: int(share * len(contents))])
    task = Benchmark(root).task("100", "1")
    with pytest.raises(DataError, match=r"surrogate-100-1\.json is (empty|truncated).*again"):
        task.surrogate(task.x)


def test_surrogate_of_another_dimension_is_refused(root: Path) -> None:
    surrogates = root / "saved-surrogates"
    shutil.copy(surrogates / "surrogate-200-7.json", surrogates / "surrogate-100-1.json")
    task = Benchmark(root).task("100", "1")
    with pytest.raises(DataError, match="takes 3 inputs but its task has 2 dimensions"):
        task.surrogate(task.x)


@pytest.mark.fault(39)
def test_without_xgboost_only_the_call_fails(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    task = Benchmark(tiny_root).task("100", "1")
    with pytest.raises(DependencyError, match=r'pip install "diffhpo\[bench\]"'):
        task.surrogate(task.x)


def test_predictions_use_one_thread(tiny_root: Path) -> None:
    surrogate = Benchmark(tiny_root).task("100", "1").surrogate
    surrogate([[0.1, 0.2]])
    config = json.loads(surrogate._booster.save_config())
    assert config["learner"]["generic_param"]["nthread"] == "1"


def test_benchmark_and_task_travel_to_other_processes(tiny_root: Path) -> None:
    benchmark = Benchmark(tiny_root)
    task = benchmark.task("100", "1")
    expected = task.surrogate(task.x)
    again = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(again.surrogate(again.x), expected)
    assert len(pickle.dumps(benchmark)) < 2000
    assert pickle.loads(pickle.dumps(benchmark)).spaces() == benchmark.spaces()


def test_a_task_can_be_built_from_arrays() -> None:
    task = Task("s", "t", [[0.0], [1.0]], [0.0, 2.0])
    assert task.y.tolist() == [0.0, 2.0]
    assert repr(task) == "Task('s', 't', 2 configurations, 1 dimensions)"
