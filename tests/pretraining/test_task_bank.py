# SPDX-License-Identifier: Apache-2.0
"""Surrogates, views and the bank."""

import numpy as np
import pytest

from diffhpo.errors import DataError, InputError
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.smoother import Smoother
from diffhpo.pretraining.surrogate_pair import SurrogatePair
from diffhpo.pretraining.task_bank import TaskBank
from diffhpo.pretraining.task_view import combined, compatible, narrowed, plain

CATEGORICAL, STEPPED = 2, 1


def test_both_surrogates_know_rows_that_they_have_not_seen(tasks):
    whole = tasks[2]
    seen = RealTask("demo/large/seen", whole.x[:300], whole.y[:300], whole.kinds, whole.roles)
    predicted = SurrogatePair(seen)(whole.x[300:])
    for column in predicted.T:
        assert np.corrcoef(column, whole.y[300:])[0, 1] > 0.9


def test_the_order_of_categories_means_nothing_to_the_smoother(tasks):
    task = tasks[0]
    renamed = task.x.copy()
    renamed[:, 3] = np.array([1.0, 0.0, 0.5])[np.rint(2 * task.x[:, 3]).astype(int)]
    y = (task.y - task.y.mean()) / task.y.std()
    first = Smoother(task.x, y, task.kinds, np.random.default_rng(0))(task.x)
    # One-hot columns change their order, so other candidates are drawn; the function stays close.
    second = Smoother(renamed, y, task.kinds, np.random.default_rng(0))(renamed)
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_a_diverged_run_does_not_swamp_the_others():
    rng = np.random.default_rng(0)
    x = rng.random((100, 1), dtype=np.float32)
    y = -((x[:, 0] - 0.5) ** 2)
    y[0] = -1e6
    pair = SurrogatePair(RealTask("a/b/c", x, y, np.zeros(1), np.zeros(1)))
    assert pair.y[1:].std() > 0.8  # of 1: the other runs keep their differences
    assert np.corrcoef(pair.y[1:], y[1:])[0, 1] > 0.999


class Recorder:
    """Stands for a task's surrogates and keeps the points that it is asked for."""

    def __init__(self, task):
        self.task = task

    def __call__(self, x):
        self.asked = x
        return np.repeat(x.sum(1, keepdims=True), 2, axis=1)


def test_a_narrowed_task_asks_for_configurations_of_the_task(tasks):
    task = tasks[0]
    dims = set()
    for seed in range(30):
        recorder = Recorder(task)
        view = narrowed(recorder, np.random.default_rng(seed))
        d = len(view.kinds)
        dims.add(d)
        x = view.uniform(np.random.default_rng(1), 40)
        values = view.evaluate(x)
        full = recorder.asked
        assert x.shape == (40, d)
        assert len(view.roles) == len(view.levels) == d >= 1
        assert values.shape == (40, 2)
        assert ((full >= 0) & (full <= 1)).all()
        fixed = np.flatnonzero(np.ptp(full, axis=0) == 0)
        assert len(fixed) == 4 - d
        # What is fixed is fixed as some evaluated row has it.
        assert (task.x[:, fixed] == full[0, fixed]).all(1).any()
        free = [j for j in range(4) if j not in fixed]
        for k, j in enumerate(free):
            assert np.corrcoef(x[:, k], full[:, j])[0, 1] > 0.9999
            if task.kinds[j] != 0:
                np.testing.assert_array_equal(x[:, k], full[:, j])
        assert ((view.start >= 0) & (view.start <= 1)).all()
    assert dims == {1, 2, 3, 4}


def test_a_sum_lies_between_its_parts(tasks):
    a, b = SurrogatePair(tasks[0]), SurrogatePair(tasks[1])
    kinds_seen = set()
    for seed in range(12):
        view = combined(a, b, np.random.default_rng(seed))
        x = view.uniform(np.random.default_rng(2), 50)
        values, first, second = view.evaluate(x), a(x), b(x)
        kinds_seen.add(view.origin.split()[1])
        if " plus " in view.origin:
            assert (values <= np.maximum(first, second) + 1e-5).all()
            assert (values >= np.minimum(first, second) - 1e-5).all()
        else:
            assert (values > 0).all()
    assert kinds_seen == {"plus", "times"}


def test_only_tasks_of_the_same_columns_are_combined(tasks):
    a = tasks[0]
    other = RealTask("a/b/c", a.x[:, :3], a.y, a.kinds[:3], a.roles[:3])
    binary = a.x.copy()
    binary[:, 3] = np.rint(binary[:, 3])
    assert compatible(a, tasks[1])
    assert not compatible(a, other)
    assert not compatible(a, RealTask("a/b/d", binary, a.y, a.kinds, a.roles))


def test_every_point_of_the_bank_exists(bank, tasks):
    for entry in bank.entries:
        assert ((entry.x >= 0) & (entry.x <= 1)).all()
        for j, kind in enumerate(entry.kinds):
            if kind == CATEGORICAL:
                assert set(np.unique(entry.x[:, j]).tolist()) <= {0.0, 0.5, 1.0}
            if kind == STEPPED:
                assert set(np.unique(entry.x[:, j]).tolist()) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_the_search_ends_near_the_optimum(bank, tasks):
    task = tasks[0]
    entry = next(entry for entry in bank.entries if entry.origin == task.name)
    view = plain(SurrogatePair(task))
    reference = view.evaluate(view.uniform(np.random.default_rng(5), 20_000))
    assert (entry.values.max(0) >= reference.max(0) - 0.02 * np.ptp(reference, axis=0)).all()


def test_tables_of_many_rows_serve_as_they_are(bank, tasks):
    table = next(entry for entry in bank.entries if entry.origin == "demo/large/large table")
    assert len(table.x) == 256
    np.testing.assert_array_equal(table.values[:, 0], table.values[:, 1])
    large = tasks[2]
    best = large.x[large.y.argmax()]
    assert (table.x == best).all(1).any()
    assert not [entry for entry in bank.entries if entry.origin == "demo/mixed/a table"]


def test_a_bank_is_a_function_of_tasks_and_seed(bank, tasks):
    again = TaskBank.build(tasks, seed=0, points=256)
    other = TaskBank.build(tasks[:1], seed=1, points=256)
    for a, b in zip(bank.entries, again.entries, strict=True):
        assert a.origin == b.origin
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.values, b.values)
    assert not np.array_equal(other.entries[0].x, bank.entries[0].x)


def test_workers_change_nothing(tasks):
    alone = TaskBank.build(tasks[:2], points=64)
    shared = TaskBank.build(tasks[:2], points=64, workers=2)
    for a, b in zip(alone.entries, shared.entries, strict=True):
        assert a.origin == b.origin
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.values, b.values)


def test_a_bank_survives_a_file(bank, tmp_path):
    bank.save(tmp_path / "bank.npz")
    for a, b in zip(bank.entries, TaskBank.load(tmp_path / "bank.npz").entries, strict=True):
        assert (a.origin, a.family) == (b.origin, b.family)
        for name in ("x", "values", "kinds", "roles"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_damaged_bank_is_named(tmp_path):
    (tmp_path / "bank.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"bank\.npz"):
        TaskBank.load(tmp_path / "bank.npz")


def test_bad_arguments_are_named(tasks):
    with pytest.raises(InputError, match="tasks"):
        TaskBank.build([])
    with pytest.raises(InputError, match="different names"):
        TaskBank.build([tasks[0], tasks[0]])
    with pytest.raises(InputError, match="points"):
        TaskBank.build(tasks, points=3)
