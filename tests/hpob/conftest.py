# SPDX-License-Identifier: Apache-2.0
"""A tiny benchmark in HPO-B's directory format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SEEDS = {"test0": [0, 7, 3, 11, 20], "test1": [5, 4, 1, 2, 39]}


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks in two spaces; the surrogates' range is so narrow that clipping happens at both ends."""
    xgboost = pytest.importorskip("xgboost", reason="the tiny benchmark's surrogates need xgboost")
    root = tmp_path_factory.mktemp("tiny")
    data, surrogates = root / "hpob-data", root / "saved-surrogates"
    data.mkdir()
    surrogates.mkdir()
    rng = np.random.default_rng(0)
    tables: dict[str, Any] = {}
    designs: dict[str, Any] = {}
    ranges = {}
    for space, task, dim in (("100", "1", 2), ("100", "2", 2), ("200", "7", 3)):
        x = rng.random((40, dim))
        y = np.sin(4 * x).sum(axis=1, keepdims=True) + 0.1 * rng.standard_normal((40, 1))
        booster = xgboost.train({"max_depth": 4, "eta": 0.3, "nthread": 1}, xgboost.DMatrix(x, y), 20)
        booster.save_model(surrogates / f"surrogate-{space}-{task}.json")
        predicted = booster.predict(xgboost.DMatrix(rng.random((500, dim))))
        low, high = np.quantile(predicted, [0.2, 0.9]).tolist()
        ranges[f"surrogate-{space}-{task}"] = {"y_min": low, "y_max": high}
        tables.setdefault(space, {})[task] = {"X": x.tolist(), "y": y.tolist()}
        designs.setdefault(space, {})[task] = SEEDS
    (data / "meta-test-dataset.json").write_text(json.dumps(tables))
    (data / "bo-initializations.json").write_text(json.dumps(designs))
    (surrogates / "summary-stats.json").write_text(json.dumps(ranges))
    return root
