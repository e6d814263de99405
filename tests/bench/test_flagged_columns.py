# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffhpo.pretraining.split import may_train
from diffhpo.suites.column_names import HPOB_COLUMNS

pytest.importorskip("sklearn")
pytest.importorskip("xgboost")

from bench.flagged_columns import tasks
from bench.flagged_columns.learners import SPACES, predicted
from bench.flagged_columns.tasks import TABLES, encoded

#: HPO-B's spaces that they are made after.
LIKE = {
    "xgb16": "5971",
    "ranger10": "5965",
    "svm8": "5527",
    "xgb18": "6767",
    "ranger9": "7607",
    "rpart3": "4796",
}


@pytest.mark.parametrize("space", SPACES)
def test_columns_are_those_of_hpo_b(space: str) -> None:
    rng = np.random.default_rng(0)
    x, names = encoded([SPACES[space].draw(rng) for _ in range(300)], SPACES[space])
    assert sorted(names) == sorted(HPOB_COLUMNS[LIKE[space]])
    np.testing.assert_array_equal(x.min(axis=0), 0.0)
    np.testing.assert_array_equal(x.max(axis=0), 1.0)
    for name, column in zip(names, x.T, strict=True):
        if name.endswith(".na"):
            # What is absent stands where the least value would.
            assert set(column) == {0.0, 1.0}
            assert not x[column == 1, names.index(name.removesuffix(".na"))].any()


@pytest.mark.filterwarnings("ignore::UserWarning")  # learners that stop early, few rows in a forest's sample
@pytest.mark.parametrize("space", SPACES)
def test_learners_read_every_configuration(space: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(np.int64)
    right = []
    for _ in range(12):
        found = predicted(space, SPACES[space].draw(rng), x[:40], y[:40], x[40:])
        right.append(np.mean(found == y[40:]))
    assert len(set(right)) > 1
    assert max(right) > 0.75


def test_no_table_trained_the_weights() -> None:
    assert not any(may_train(table) for table in TABLES)


def test_a_task_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def evaluations(space: str, table: str, _: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
        made.append((space, table))
        rng = np.random.default_rng(0)
        return rng.random((40, 3)), rng.random(40), ["minsplit", "minbucket", "cp"]

    monkeypatch.setattr(tasks, "evaluated", evaluations)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tasks, "fitted_surrogate", lambda *_: (None, 0.0, 1.0))
    suite = tasks.open_flagged(tmp_path, tmp_path / "out")
    first, second = (suite.task("rpart3", "cmc") for _ in range(2))
    assert made == [("rpart3", "cmc")]
    np.testing.assert_array_equal(first.x, second.x)
    assert tasks.column_names("rpart3", tmp_path / "out") == ["minsplit", "minbucket", "cp"]
