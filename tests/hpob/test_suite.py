# SPDX-License-Identifier: Apache-2.0
"""The embedded suite: its files, its surrogates, its export and the script that made it."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffhpo.errors import DataError, InputError, SpaceError
from diffhpo.hpob import suite
from diffhpo.hpob.data import Benchmark

SPLITS = ("test", "validation", "train")
N_TASKS = {"test": 8, "validation": 4, "train": 16}
ALL_TASKS = [(task.split, task.name) for task in suite.tasks()]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, Benchmark]:
    return {split: suite.benchmark(split) for split in SPLITS}


def descriptor() -> dict[str, Any]:
    return json.loads((suite.root().parent / "descriptor.json").read_text())


@pytest.mark.parametrize("split", SPLITS)
def test_tables_have_the_promised_shape(split: str, benchmarks: dict[str, Benchmark]) -> None:
    benchmark = benchmarks[split]
    assert benchmark.spaces() == [suite.SPACE]
    names = benchmark.tasks(suite.SPACE)
    assert len(names) == N_TASKS[split]
    assert names == [task.name for task in suite.tasks(split)]
    for name in names:
        task = benchmark.task(suite.SPACE, name)
        assert task.x.shape == (len(task), len(suite.describe()))
        assert len(task) >= 400
        assert len(np.unique(task.x, axis=0)) == len(task)
        assert task.x.min() >= 0
        assert task.x.max() <= 1
        assert task.y.min() >= 0
        assert task.y.max() <= 1


def test_no_table_is_in_two_splits_and_families_stay_together() -> None:
    tasks = suite.tasks()
    for key in ("name", "source"):
        assert len({getattr(task, key) for task in tasks}) == len(tasks)
    split = {task.name: task.split for task in tasks}
    for family in (("breast-w", "wdbc"), ("mfeat-morphological", "digits")):
        assert len({split[name] for name in family}) == 1


def test_no_two_tables_are_copies_of_one_another(benchmarks: dict[str, Benchmark]) -> None:
    # The designs differ, but a copied table would have the same rows, features, classes and accuracy.
    seen = {
        (task.rows, task.features, task.classes, task.majority, task.accuracy_min) for task in suite.tasks()
    }
    assert len(seen) == len(ALL_TASKS)


def test_every_task_names_its_source_and_licence() -> None:
    page = (suite.root().parent / "SOURCES.md").read_text()
    for task in suite.tasks():
        assert task.licence in ("CC-BY-4.0", "BSD-3-Clause")
        assert task.source.startswith(("https://www.openml.org/d/", "scikit-learn"))
        assert f"| {task.name} |" in page
        assert task.source in page


@pytest.mark.parametrize(("split", "name"), ALL_TASKS)
def test_descriptor_agrees_with_the_data(split: str, name: str, benchmarks: dict[str, Benchmark]) -> None:
    task = benchmarks[split].task(suite.SPACE, name)
    described = next(entry for entry in suite.tasks(split) if entry.name == name)
    assert described.evaluations == len(task)
    assert described.accuracy_min == task.y.min()
    assert described.accuracy_max == task.y.max()
    assert described.accuracy_max > described.majority + 0.02


@pytest.mark.parametrize("name", [name for split, name in ALL_TASKS if split == "test"])
def test_test_tasks_are_not_saturated(name: str, benchmarks: dict[str, Benchmark]) -> None:
    task = benchmarks["test"].task(suite.SPACE, name)
    assert np.mean(task.y == task.y.max()) < 0.05
    assert task.y.max() - np.quantile(task.y, 0.25) > 0.03


@pytest.mark.parametrize(("split", "name"), ALL_TASKS)
def test_initial_designs_do_not_give_the_answer_away(
    split: str, name: str, benchmarks: dict[str, Benchmark]
) -> None:
    task = benchmarks[split].task(suite.SPACE, name)
    assert task.seeds() == [f"test{i}" for i in range(10)]
    rows = [row for seed in task.seeds() for row in task.initial(seed)]
    assert len(rows) == len(set(rows)) == 50
    assert task.y[rows].max() < task.y.max()
    assert task.y[rows].max() < task.y_max
    # The place in the file tells nothing: under no relation this correlation has a deviation of 0.045.
    rank = np.argsort(np.argsort(task.y))
    assert abs(np.corrcoef(np.arange(len(task)), rank)[0, 1]) < 0.18


@pytest.mark.parametrize(("split", "name"), ALL_TASKS)
def test_surrogate_range_holds_and_is_reached(
    split: str, name: str, benchmarks: dict[str, Benchmark]
) -> None:
    pytest.importorskip("xgboost")
    task = benchmarks[split].task(suite.SPACE, name)
    fresh = task.surrogate(np.random.default_rng(20_000).random((20_000, task.dim)))
    both = np.concatenate([fresh, task.surrogate(task.x)])
    assert both.max() <= task.y_max + 1e-6
    assert both.min() >= task.y_min - 1e-6
    best = np.array(descriptor()["tasks"][name]["surrogate"]["best_point"])
    assert task.surrogate(best[None])[0] == pytest.approx(task.y_max, abs=1e-6)


@pytest.mark.parametrize(("split", "name"), ALL_TASKS)
def test_surrogate_is_the_described_one_and_follows_the_data(
    split: str, name: str, benchmarks: dict[str, Benchmark]
) -> None:
    pytest.importorskip("xgboost")
    task = benchmarks[split].task(suite.SPACE, name)
    stored = descriptor()["tasks"][name]["surrogate"]["predictions"]
    np.testing.assert_allclose(task.surrogate(task.x[: len(stored)]), stored, atol=1e-6)
    residual = task.surrogate(task.x) - task.y
    assert 1 - np.var(residual) / np.var(task.y) > 0.8
    # Discrete and continuous protocol speak of the same scale.
    assert task.y_min - 0.1 < task.y.min()
    assert task.y.max() < task.y_max + 0.03


def test_package_data_is_small() -> None:
    files = [file for file in suite.root().parent.rglob("*") if file.suffix in (".gz", ".json", ".md")]
    assert len(files) == sum(N_TASKS.values()) + 3 * len(SPLITS) + 2
    assert sum(file.stat().st_size for file in files) < 8e6


def test_columns_decode_to_their_ranges() -> None:
    columns = suite.describe()
    low, high = suite.native([[0.0] * len(columns), [1.0] * len(columns)])
    for column in columns:
        if column.choices:
            assert (low[column.name], high[column.name]) == (column.choices[0], column.choices[-1])
        else:
            assert low[column.name] == pytest.approx(column.low)
            assert high[column.name] == pytest.approx(column.high)
    assert isinstance(low["max_depth"], int)
    assert low["booster"] == "gbtree"


def test_data_are_configurations_that_exist(benchmarks: dict[str, Benchmark]) -> None:
    x = benchmarks["test"].task(suite.SPACE, "vehicle").x
    for j, column in enumerate(suite.describe()):
        np.testing.assert_allclose(column.encode(column.decode(x[:, j])), x[:, j], atol=1e-6)


def test_stored_accuracy_is_what_xgboost_gives(benchmarks: dict[str, Benchmark]) -> None:
    xgboost = pytest.importorskip("xgboost")
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the table")
    from sklearn.model_selection import RepeatedStratifiedKFold

    x, y = datasets.load_wine(return_X_y=True)
    # The suite numbers classes from the most frequent; wine's are 59, 71 and 48.
    y = np.array([1, 0, 2])[y]
    task = benchmarks["train"].task(suite.SPACE, "wine")
    rows = np.argsort(task.y)[[50, 250, 450]]
    for row in rows:
        config = suite.native(task.x[row : row + 1])[0]
        rounds = config.pop("nrounds")
        if config["booster"] == "gblinear":
            continue
        model = xgboost.XGBClassifier(
            n_estimators=rounds,
            learning_rate=config.pop("eta"),
            reg_lambda=config.pop("lambda"),
            reg_alpha=config.pop("alpha"),
            tree_method="hist",
            max_bin=64,
            base_score=0.5,
            random_state=0,
            n_jobs=1,
            **config,
        )
        hits = [
            model.fit(x[train].astype(np.float32), y[train]).predict(x[test].astype(np.float32)) == y[test]
            for train, test in RepeatedStratifiedKFold(n_splits=3, n_repeats=3, random_state=0).split(x, y)
        ]
        # Another release of xgboost may draw other subsamples.
        assert np.mean(np.concatenate(hits)) == pytest.approx(task.y[row], abs=0.03)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_export_round_trips(split: str, tmp_path: Path, benchmarks: dict[str, Benchmark]) -> None:
    target = suite.export(tmp_path / "plain", split)
    assert not list(target.rglob("*.gz"))
    plain, packed = Benchmark(target), benchmarks[split]
    assert plain.tasks(suite.SPACE) == packed.tasks(suite.SPACE)
    for name in packed.tasks(suite.SPACE):
        ours, theirs = packed.task(suite.SPACE, name), plain.task(suite.SPACE, name)
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)
        assert (ours.y_min, ours.y_max) == (theirs.y_min, theirs.y_max)
        assert [ours.initial(s) for s in ours.seeds()] == [theirs.initial(s) for s in theirs.seeds()]
    xgboost = pytest.importorskip("xgboost")
    task = packed.task(suite.SPACE, name)
    booster = xgboost.Booster()
    booster.load_model(str(target / "saved-surrogates" / f"surrogate-{suite.SPACE}-{name}.json"))
    np.testing.assert_array_equal(booster.predict(xgboost.DMatrix(task.x)), task.surrogate(task.x))


def test_export_repeats_and_completes_itself(tmp_path: Path) -> None:
    target = suite.export(tmp_path, "validation")
    files = {file: file.read_bytes() for file in target.rglob("*.json")}
    victim = target / "hpob-data" / "bo-initializations.json"
    victim.rename(victim.with_name(victim.name + ".part"))
    assert suite.export(tmp_path, "validation") == target
    assert {file: file.read_bytes() for file in target.rglob("*.json")} == files
    assert not list(target.rglob("*.part"))


def test_export_refuses_a_directory_with_other_content(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt.*new or empty directory"):
        suite.export(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_export_refuses_another_version_of_a_file(tmp_path: Path) -> None:
    suite.export(tmp_path, "validation")
    with pytest.raises(DataError, match="not of this export"):
        suite.export(tmp_path, "test")


def test_export_to_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="cannot be written"):
            suite.export(target)


@pytest.mark.parametrize("call", [suite.root, suite.benchmark, suite.tasks, lambda s: suite.export("x", s)])
def test_unknown_split(call: Any) -> None:
    with pytest.raises(InputError, match=r"'meta'.*test, validation, train"):
        call("meta")


@pytest.mark.parametrize(
    ("x", "match"),
    [
        ([0.5] * 10, "shape"),
        ([[0.5] * 9], "shape"),
        ([[0.5] * 9 + [1.5]], "outside"),
        ([[0.5] * 9 + [float("nan")]], "not finite"),
    ],
)
def test_native_refuses_bad_points(x: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        suite.native(x)


def test_native_takes_no_points() -> None:
    assert suite.native(np.empty((0, 10))) == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("eta", 1.0, 1.0, "linear", False), "smaller"),
        (("eta", 0.0, 1.0, "log2", False), "low > 0"),
        (("eta", 0.1, 1.0, "ln", False), "transform"),
    ],
)
def test_column_refuses_bad_ranges(arguments: Any, match: str) -> None:
    with pytest.raises(SpaceError, match=match):
        suite.Column(*arguments)


def test_damaged_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = suite.root().parent / "descriptor.json"
    monkeypatch.setattr(suite, "_HERE", tmp_path)
    with pytest.raises(DataError, match="install diffhpo again"):
        suite.root()
    with pytest.raises(DataError, match=r"descriptor\.json"):
        suite.describe()
    (tmp_path / "descriptor.json").write_text(whole.read_text()[:5000])
    with pytest.raises(DataError, match=r"descriptor\.json"):
        suite.describe()
    (tmp_path / "descriptor.json").write_text("{}")
    for call in (suite.describe, suite.tasks):
        with pytest.raises(DataError, match=r"not complete.*install diffhpo again"):
            call()


def test_truncated_table_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(suite.root("validation"), tmp_path / "validation")
    file = tmp_path / "validation" / "hpob-data" / "meta-test-dataset.json.gz"
    file.write_bytes(file.read_bytes()[:2000])
    monkeypatch.setattr(suite, "_HERE", tmp_path)
    with pytest.raises(DataError, match=r"meta-test-dataset\.json\.gz"):
        suite.benchmark("validation").spaces()


class TestBuild:
    """The script in bench/suite, as far as it is cheap."""

    @pytest.fixture(autouse=True)
    def _bench(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("scipy")
        monkeypatch.syspath_prepend(str(REPOSITORY))

    def test_splits_are_those_of_the_suite(self) -> None:
        from bench.suite.splits import SPLITS as WRITTEN

        assert {s: [task.name for task in suite.tasks(s)] for s in SPLITS} == {
            s: list(names) for s, names in WRITTEN.items()
        }

    def test_shipped_columns_are_those_of_the_script(self) -> None:
        from bench.suite.space import COLUMNS

        assert tuple(suite.describe()) == COLUMNS

    def test_design_is_the_shipped_one(self, benchmarks: dict[str, Benchmark]) -> None:
        from bench.suite.design import broad

        known = {tuple(row) for row in benchmarks["test"].task(suite.SPACE, "phoneme").x.tolist()}
        assert {tuple(row) for row in broad("phoneme").tolist()} <= known

    def test_local_points_are_new_and_near_the_best(self) -> None:
        from bench.suite.design import LOCAL_BATCH, N_ELITES, broad, local

        x = broad("any")
        y = -np.abs(x - x[7]).sum(axis=1)
        known = {tuple(point) for point in x.tolist()}
        elite = x[np.argsort(-y)[:N_ELITES]]
        # One draw in 512 moves no coordinate and would repeat its parent.
        for task in range(60):
            near = local(f"task {task}", x, y)
            assert near.shape == (LOCAL_BATCH, 10)
            assert not {tuple(point) for point in near.tolist()} & known
            distance = np.abs(near[:, None] - elite).mean(axis=2).min(axis=1)
            assert distance.max() < 0.15
        np.testing.assert_array_equal(near, local(f"task {task}", x, y))

    def test_extremes_agree_with_exhaustion(self) -> None:
        xgboost = pytest.importorskip("xgboost")
        from bench.suite.surrogate import fit

        from diffhpo.suites import extremes

        # So few starting points that the best cell is found by climbing, not by chance.
        rng = np.random.default_rng(3)
        x = rng.random((60, 3)).round(6)
        y = np.sin(9 * x[:, 0]) * x[:, 1] + np.cos(7 * x[:, 2])
        fitted = fit(x, y)
        booster = xgboost.Booster()
        booster.load_model(bytearray(json.dumps(fitted.model).encode()))
        grid = extremes.cells(fitted.model, 3)
        everything = booster.inplace_predict(np.array(list(itertools.product(*grid))))
        value, point = extremes.highest(
            lambda z: booster.inplace_predict(z).astype(float), grid, x[:2], 0, sobol_log2=3
        )
        assert value == everything.max()
        assert booster.inplace_predict(point[None])[0] == everything.max()
        # What was rounded away for shipping moves no prediction.
        data = xgboost.DMatrix(x, label=y)
        params = {"max_depth": 6, "eta": fitted.eta, "objective": "reg:squarederror", "nthread": 1}
        whole = xgboost.train(params | {"tree_method": "exact"}, data, fitted.rounds)
        np.testing.assert_allclose(booster.predict(data), whole.predict(data), atol=1e-5)

    def test_slimmed_model_predicts_like_the_whole(self, benchmarks: dict[str, Benchmark]) -> None:
        xgboost = pytest.importorskip("xgboost")
        task = benchmarks["validation"].task(suite.SPACE, "diabetes")
        recipe = descriptor()["tasks"]["diabetes"]["surrogate"]
        params = {"max_depth": 6, "eta": recipe["eta"], "objective": "reg:squarederror"}
        data = xgboost.DMatrix(task.x, label=task.y)
        whole = xgboost.train(params | {"tree_method": "exact", "nthread": 1}, data, recipe["rounds"])
        np.testing.assert_allclose(task.surrogate(task.x), whole.predict(data), atol=2e-5)

    def test_journal_drops_a_line_cut_by_a_kill(self, tmp_path: Path) -> None:
        from bench.suite.journal import Journal

        path = tmp_path / "journal.jsonl"
        journal = Journal(path)
        journal.add("wine", [0.25, 1.0], 0.9, 0.1)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:20])
        again = Journal(path)
        assert again.get("wine", [0.25, 1.0]) == 0.9
        assert again.get("wine", [0.25, 0.5]) is None
        again.add("wine", [0.25, 0.5], 0.8, 0.1)
        assert Journal(path).get("wine", [0.25, 0.5]) == 0.8

    def test_files_have_the_same_bytes_each_time(self, tmp_path: Path) -> None:
        from bench.suite.layout import write_gzip_json

        source = suite.root("validation") / "saved-surrogates" / "summary-stats.json.gz"
        import gzip

        value = json.loads(gzip.decompress(source.read_bytes()))
        write_gzip_json(tmp_path / "a.gz", value)
        write_gzip_json(tmp_path / "b.gz", value)
        assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
        assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4)

    def test_tables_keep_missing_values_and_code_categories(self, tmp_path: Path) -> None:
        pytest.importorskip("sklearn")
        from bench.suite.tables import load_table

        rows = ["a,b,c,class"]
        rows += [
            f"{i},{'xyz'[i % 3]},{'' if i == 4 else i % 2},{'yes' if i % 3 else 'no'}" for i in range(30)
        ]
        (tmp_path / "toy.csv").write_text("\n".join(rows))
        entry = {"name": "toy", "label_index": 3, "openml": ["https://www.openml.org/d/0"]}
        (tmp_path / "MANIFEST.json").write_text(json.dumps([entry]))
        table = load_table("toy", tmp_path)
        assert table.x.shape == (30, 5)
        assert np.flatnonzero(np.isnan(table.x[:, 4])).tolist() == [4]
        assert table.x[:, 1:4].sum(axis=1).tolist() == [1.0] * 30
        assert np.bincount(table.y).tolist() == [20, 10]
