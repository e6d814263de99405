# SPDX-License-Identifier: Apache-2.0
"""The mixed benchmark: its tables, objectives that repeat, methods that suggest what is legal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffhpo.pretraining.split import may_train
from diffhpo.study.journal import encode_line

cs = pytest.importorskip("ConfigSpace")
pytest.importorskip("sklearn")

from bench.mixed import report, run  # noqa: E402
from bench.mixed.evaluations import Evaluations, plain  # noqa: E402
from bench.mixed.objective import Objective  # noqa: E402
from bench.mixed.rivals import METHODS, N_INITIAL  # noqa: E402
from bench.mixed.spaces import SPACES, UNCONDITIONAL  # noqa: E402
from bench.mixed.tasks import TASKS  # noqa: E402
from bench.suite.tables import Table  # noqa: E402


def small_table(rows=60, columns=4, classes=3):
    rng = np.random.default_rng(0)
    y = np.arange(rows) % classes
    x = rng.normal(size=(rows, columns)) + y[:, None]
    x[0, 0] = np.nan
    return Table("small", x.astype(np.float32), y.astype(np.int64), classes, rows, "", "")


def test_no_table_may_train_and_those_of_report_choose_nothing():
    tables = {split: {table for _, table in tasks} for split, tasks in TASKS.items()}
    assert not tables["report"] & tables["choose"]
    assert not any(may_train(table) for found in tables.values() for table in found)


def test_spaces_without_conditions_are_the_ones_named_so():
    assert {name for name, make in SPACES.items() if not make().conditions} == set(UNCONDITIONAL)


@pytest.mark.parametrize("space", list(SPACES))
def test_an_evaluation_repeats_and_depends_on_the_configuration(space):
    pytest.importorskip("xgboost")
    made = SPACES[space]()
    made.seed(3)
    configurations = [plain(c) for c in made.sample_configuration(6)]
    values = [Objective(space, small_table())(c) for c in configurations]
    again = Objective(space, small_table())
    assert [again(c) for c in reversed(configurations)] == values[::-1]
    assert len(set(values)) > 2


@pytest.mark.parametrize("method", ["random", "tpe", "diffhpo"])
@pytest.mark.parametrize("space", ["mlp", "classifier"])
def test_suggestions_are_legal_and_a_run_repeats(method, space):
    pytest.importorskip("optuna")
    records = []
    for _ in range(2):
        made = SPACES[space]()
        made.seed(5)
        initial = [plain(c) for c in made.sample_configuration(N_INITIAL)]
        searcher = METHODS[method](made, 7)
        for index, configuration in enumerate(initial):
            searcher.tell(configuration, float(index))
        found = []
        for index in range(6):
            found.append(searcher.suggest())
            cs.Configuration(SPACES[space](), values=found[-1])  # refuses what is not legal or not active
            searcher.tell(found[-1], float(-index))
        records.append(found)
    assert records[0] == records[1]


def test_an_evaluation_is_computed_once_and_survives(tmp_path):
    path = tmp_path / "deep" / "evaluations.jsonl"
    first = Evaluations(path)
    assert [first.value("t", {"b": 1, "a": 2.5}, lambda c: c["a"]) for _ in range(2)] == [2.5, 2.5]
    assert first.computed == 1
    with path.open("ab") as file:
        file.write(b'{"crc32":"cut sho')
    second = Evaluations(path)
    assert second.value("t", {"a": 2.5, "b": 1}, lambda c: 1 / 0) == 2.5
    assert second.value("other", {"a": 2.5, "b": 1}, lambda c: -1.0) == -1.0
    assert Evaluations(path).value("other", {"a": 2.5, "b": 1}, lambda c: 1 / 0) == -1.0


def test_a_command_that_was_stopped_does_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "report", (("linear", "small"),))
    monkeypatch.setattr(run, "load_table", lambda name, folder: small_table())
    monkeypatch.setattr(run, "TRIALS", 3)
    arguments = [
        "--tables",
        str(tmp_path),
        "--out",
        str(tmp_path),
        "--split",
        "report",
        "--methods",
        "random",
    ]
    run.main([*arguments, "--seeds", "1"])
    before = (tmp_path / run.RUNS).read_bytes()
    run.main([*arguments, "--seeds", "1"])
    assert (tmp_path / run.RUNS).read_bytes() == before
    monkeypatch.setattr(run, "method_version", lambda method: "another")
    run.main([*arguments, "--seeds", "2"])
    records = [json.loads(line)["run"] for line in (tmp_path / run.RUNS).read_bytes().splitlines()]
    assert [(r["seed"], r["version"]) for r in records[1:]] == [("test0", "another"), ("test1", "another")]
    assert records[0]["values"] == records[1]["values"]
    assert len(report.latest_runs(tmp_path / run.RUNS, "report")) == 2


def test_regret_runs_from_the_median_of_random_search_to_the_best_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "report", (("s", "t"),))
    monkeypatch.setattr(report, "N_INITIAL", 1)
    lines = {"random": [0.0, 1.0, 2.0], "tpe": [0.0, 1.5, 5.0]}
    for method, values in lines.items():
        record = {"space": "s", "task": "t", "seed": "test0", "method": method, "values": values}
        with (tmp_path / "runs.jsonl").open("ab") as file:
            file.write(encode_line(record))
    records = report.latest_runs(tmp_path / "runs.jsonl", "report")
    assert report.scales(records) == {("s", "t"): (1.0, 5.0)}
    assert report.results_of(records)["tpe"] == {"s": {"t": {"test0": [0.0, 0.125, 1.0]}}}


def test_a_methods_version_covers_every_module_that_a_suggestion_loads():
    """One that is left out would keep runs of older code."""
    code = """
import sys
from bench.mixed.evaluations import plain
from bench.mixed.rivals import METHODS
from bench.mixed.run import _DECISIVE
from bench.mixed.spaces import SPACES

space = SPACES["svm"]()
space.seed(0)
method = METHODS["diffhpo"](space, 0)
for value, configuration in enumerate(space.sample_configuration(5)):
    method.tell(plain(configuration), value)
method.suggest()
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("diffhpo.")}
covered = {name.partition("/")[0] for name in _DECISIVE}
print(*sorted(loaded - covered))
"""
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    # These check, store and organise.
    assert set(done.stdout.split()) <= {"_C", "arguments", "errors", "files", "process", "study", "trial"}
