# SPDX-License-Identifier: Apache-2.0
"""Each source's format, on files made up here."""

import json

import numpy as np
import pytest

from diffhpo.errors import DataError, InputError
from diffhpo.parameter_roles import ROLES
from diffhpo.pretraining.mlp_grids import load_mlp_grids
from diffhpo.pretraining.own_runs import load_own_runs
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.real_tasks import load_real_tasks
from diffhpo.pretraining.split import xgboost_part
from diffhpo.pretraining.xgboost_tables import load_xgboost_tables
from diffhpo.suites.x48 import HIGH, LOGARITHMIC, LOW, unit_cube


def xgboost_archive(path, sign):
    """Only train tables: reading another one would fail."""
    rng = np.random.default_rng(0)
    arrays = {}
    for i in (i for i in range(48) if xgboost_part(i) == "train"):
        raw = np.stack(
            [
                np.exp(rng.uniform(np.log(low), np.log(high), 50)) if log else rng.uniform(low, high, 50)
                for low, high, log in zip(LOW, HIGH, LOGARITHMIC, strict=True)
            ],
            axis=1,
        )
        arrays[f"d{i}_domain"] = raw
        arrays[f"d{i}_accs"] = 0.3 - sign * 0.02 * np.log10(raw[:, 2]) + 0.001 * rng.random(50)
    np.savez(path, **arrays)
    return path


def test_error_rates_become_larger_is_better(tmp_path):
    tasks = load_xgboost_tables(xgboost_archive(tmp_path / "a.npz", sign=1))
    assert len(tasks) == 30
    for task in tasks:
        assert task.dim == 6
        assert np.corrcoef(task.x[:, 2], task.y)[0, 1] > 0.9
    assert [ROLES[role] for role in tasks[0].roles[2:]] == [
        "learning rate",
        "smallest leaf",
        "L1 strength",
        "L2 strength",
    ]


def test_accuracies_in_the_place_of_error_rates_are_noticed(tmp_path):
    with pytest.raises(DataError, match="no error rates"):
        load_xgboost_tables(xgboost_archive(tmp_path / "a.npz", sign=-1))


def test_raw_units_are_scaled_to_the_unit_cube():
    ends = np.array([LOW, HIGH])
    middle = np.array([[0.525, 0.525, 10**-2.5, np.sqrt(0.5), np.sqrt(2e-5), np.sqrt(2e-5)]])
    np.testing.assert_allclose(
        unit_cube(np.concatenate([ends, middle])), [[0] * 6, [1] * 6, [0.5] * 6], atol=1e-6
    )


def test_grids_keep_levels_and_values(tmp_path):
    rng = np.random.default_rng(0)
    grid = rng.random((2, 3, 3, 2, 4, 5)).astype(np.float32)
    np.savez(tmp_path / "g.npz", car=grid, dog=grid, australian=grid)
    tasks = load_mlp_grids(tmp_path / "g.npz")
    assert [task.name for task in tasks] == [
        f"mlp-grids/mlp/{name}/{response}"
        for name in ("australian", "dog")
        for response in ("mean", "seed0", "seed1")
    ]
    for task, expected in zip(tasks[:2], (grid.mean(-1), grid[..., 0]), strict=True):
        cell = np.rint(task.x * (np.array(expected.shape) - 1)).astype(int)
        np.testing.assert_allclose(task.y, expected[tuple(cell.T)], rtol=1e-6)
        assert len(task) == expected.size
    assert ROLES[tasks[0].roles[0]] == "L2 strength"
    assert ROLES[tasks[0].roles[2]] == "number of layers"


def own_archive(path, y, schema=1):
    index = {
        "schema": schema,
        "learners": {"svm": {"names": ["cost", "kernel"], "kinds": [0, 2]}},
        "runs": [{"learner": "svm", "table": "iris~2", "responses": ["balanced_accuracy", "log_loss"]}],
    }
    x = np.array([[0, 0], [65535, 65535], [32768, 0], [1, 65535], [2, 0]] * 2, dtype=np.uint16)
    np.savez(path, index=np.array(json.dumps(index)), x0=x, y0=np.asarray(y, dtype=np.float32))
    return path


def test_own_runs_become_a_task_for_each_response(tmp_path):
    path = own_archive(tmp_path / "e.npz", [np.arange(10), -np.arange(10)])
    accuracy, loss = load_own_runs(path)
    assert accuracy.name == "own/svm/iris~2/balanced_accuracy"
    assert accuracy.family == loss.family == "own/svm"
    assert accuracy.kinds.tolist() == [0, 2]
    assert accuracy.x[1].tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(loss.y, -np.arange(10))


def test_responses_that_hardly_differ_are_left_out(tmp_path):
    path = own_archive(tmp_path / "e.npz", [np.arange(10) % 3, -np.arange(10)])
    assert [task.name.rsplit("/", 1)[1] for task in load_own_runs(path)] == ["log_loss"]


@pytest.mark.parametrize("load", [load_xgboost_tables, load_mlp_grids, load_own_runs])
def test_missing_and_damaged_files_are_named(load, tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"not an archive")
    for path in (broken, tmp_path / "absent.npz"):
        with pytest.raises(DataError, match=path.name):
            load(path)


def test_another_schema_is_refused(tmp_path):
    with pytest.raises(DataError, match="schema 7"):
        load_own_runs(own_archive(tmp_path / "e.npz", [np.arange(10)] * 2, schema=7))


def test_sources_that_are_not_given_are_not_read(tmp_path):
    assert load_real_tasks(suite=False) == []
    path = own_archive(tmp_path / "e.npz", [np.arange(10), -np.arange(10)])
    assert len(load_real_tasks(suite=False, evaluations=path)) == 2


@pytest.mark.parametrize(
    ("x", "y", "kinds", "match"),
    [
        (np.zeros((3, 2)), np.zeros(4), np.zeros(2), r"\(3, 2\)"),
        (np.full((3, 2), 1.5), np.zeros(3), np.zeros(2), r"\[0, 1\]"),
        (np.zeros((3, 2)), np.array([0, np.nan, 1]), np.zeros(2), "finite"),
        (np.zeros((3, 2)), np.zeros(3), np.array([0, 3]), "kinds"),
    ],
)
def test_a_task_checks_itself(x, y, kinds, match):
    with pytest.raises(InputError, match=match):
        RealTask("a/b/c", x, y, kinds, np.zeros(2))
