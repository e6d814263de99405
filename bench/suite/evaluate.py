# SPDX-License-Identifier: Apache-2.0
"""One evaluation: the cross-validated accuracy of an XGBoost configuration on a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from bench.suite.tables import Table

FOLDS = 3
SEED = 0
# Small tables are cross-validated more than once, with other folds, so that one row weighs less.
MIN_PREDICTIONS = 1000
MAX_REPEATS = 3
# With this many classes, one tree each a round, a second time would cost more than it is worth.
ONE_REPEAT_CLASSES = 10
MAX_BIN = 64
_TREE_ONLY = ("max_depth", "min_child_weight", "subsample", "colsample_bytree", "colsample_bylevel")


class Evaluator:
    """Cross-validated accuracy on one table, with the same folds and seed for every configuration.

    Args:
        table: The table; its quantised copies are kept between calls.
    """

    def __init__(self, table: Table) -> None:
        import xgboost
        from sklearn.model_selection import RepeatedStratifiedKFold

        few = table.n_classes < ONE_REPEAT_CLASSES
        self.repeats = min(MAX_REPEATS, -(-MIN_PREDICTIONS // len(table.y))) if few else 1
        splitter = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=self.repeats, random_state=SEED)
        self._n_classes = table.n_classes
        self._folds = [
            (
                xgboost.DMatrix(table.x[train], label=table.y[train], nthread=1),
                xgboost.DMatrix(table.x[test], nthread=1),
                table.y[test],
            )
            for train, test in splitter.split(table.x, table.y)
        ]

    def __call__(self, config: dict[str, float | int | str]) -> float:
        """Accuracy in [0, 1] of one configuration in native units, 6 decimals."""
        import xgboost

        params: dict[str, Any] = {key: value for key, value in config.items() if key != "nrounds"}
        if config["booster"] == "gblinear":
            params = {key: value for key, value in params.items() if key not in _TREE_ONLY}
            params["updater"] = "coord_descent"
        else:
            params |= {"tree_method": "hist", "max_bin": MAX_BIN}
        # base_score 0.5 was XGBoost's default when HPO-B's data was made: a configuration that learns slowly
        # is then not forced to predict the majority class.
        params |= {"nthread": 1, "seed": SEED, "verbosity": 0, "base_score": 0.5}
        if self._n_classes == 2:
            params["objective"] = "binary:logistic"
        else:
            params |= {"objective": "multi:softprob", "num_class": self._n_classes}
        correct = total = 0
        for train, test, truth in self._folds:
            booster = xgboost.train(params, train, num_boost_round=int(config["nrounds"]))
            probability = booster.predict(test)
            label = probability > 0.5 if probability.ndim == 1 else probability.argmax(axis=1)
            correct += int(np.sum(label == truth))
            total += len(truth)
        return round(correct / total, 6)
