# SPDX-License-Identifier: Apache-2.0
"""The search spaces: the parameters that users tune of each learner, under the names that they write."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffhpo.hpob.suite.column import Column


def _log(name: str, low: float, high: float, integer: bool = False) -> Column:
    return Column(name, low, high, "log2", integer)


def _linear(name: str, low: float, high: float, integer: bool = False) -> Column:
    return Column(name, low, high, "linear", integer)


def _choice(name: str, *choices: str) -> Column:
    return Column(name, 0.0, len(choices) - 1.0, "linear", True, choices)


# The ranges are wide on purpose: a run must meet regions that learn nothing, as users' runs do.
SPACES: dict[str, tuple[Column, ...]] = {
    "svm": (
        _log("cost", 2.0**-10, 2.0**10),
        _log("gamma", 2.0**-12, 2.0**4),
        _choice("kernel", "rbf", "poly", "sigmoid"),
        _linear("degree", 2, 5, True),
    ),
    "decision_tree": (
        _linear("max_depth", 1, 20, True),
        _linear("min_samples_split", 2, 60, True),
        _linear("min_samples_leaf", 1, 60, True),
        _log("ccp_alpha", 2.0**-13, 2.0**-2),
        _choice("criterion", "gini", "entropy"),
    ),
    "random_forest": (
        _log("n_estimators", 4, 64, True),
        _linear("max_features", 0.05, 1.0),
        _log("min_samples_leaf", 1, 64, True),
        _linear("max_samples", 0.1, 1.0),
        _linear("max_depth", 1, 20, True),
    ),
    "elastic_net": (
        _linear("l1_ratio", 0.0, 1.0),
        _log("lambda", 2.0**-12, 2.0**1),
    ),
    "xgboost": (
        _log("eta", 2.0**-9, 1.0),
        _linear("max_depth", 1, 12, True),
        _log("min_child_weight", 2.0**-4, 2.0**5),
        _linear("subsample", 0.1, 1.0),
        _linear("colsample_bytree", 0.1, 1.0),
        _log("lambda", 2.0**-10, 2.0**8),
        _log("alpha", 2.0**-10, 2.0**4),
        _log("gamma", 2.0**-10, 2.0**4),
        _log("nrounds", 4, 100, True),
    ),
    "mlp": (
        _log("learning_rate", 2.0**-13, 1.0),
        _log("weight_decay", 2.0**-20, 2.0**4),
        _log("hidden_units", 4, 128, True),
        _linear("layers", 1, 3, True),
        _log("batch_size", 16, 128, True),
        _linear("momentum", 0.0, 0.99),
        _choice("activation", "relu", "tanh", "logistic"),
    ),
    "knn": (
        _log("n_neighbors", 1, 100, True),
        _linear("p", 1.0, 4.0),
        _choice("weights", "uniform", "distance"),
    ),
    "linear_sgd": (
        _choice("loss", "hinge", "log_loss", "modified_huber"),
        _log("alpha", 2.0**-20, 1.0),
        _linear("l1_ratio", 0.0, 1.0),
        _log("eta0", 2.0**-12, 2.0**2),
        _linear("power_t", 0.0, 1.0),
        _log("epochs", 1, 30, True),
    ),
}
#: The response that the second half of a design climbs; the other, where there is one, is recorded too.
GUIDE = {
    "svm": "balanced_accuracy",
    "decision_tree": "balanced_accuracy",
    "random_forest": "log_loss",
    "elastic_net": "log_loss",
    "xgboost": "log_loss",
    "mlp": "log_loss",
    "knn": "balanced_accuracy",
    "linear_sgd": "balanced_accuracy",
}
# Six decimals: the stored coordinate is exactly the one that was evaluated.
DECIMALS = 6


def snap(columns: tuple[Column, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, d) points moved to the nearest configurations that exist (integers, choices), 6 decimals."""
    out = np.clip(x, 0.0, 1.0)
    for j, column in enumerate(columns):
        if column.integer:
            out[:, j] = column.encode(column.decode(out[:, j]))
    return np.round(out, DECIMALS)
