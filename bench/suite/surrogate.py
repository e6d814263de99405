# SPDX-License-Identifier: Apache-2.0
"""Fits a task's surrogate by HPO-B's recipe and slims the model for shipping.

Recipe (Pineda-Arango et al. 2021, continuous/train-surrogates.py of HPO-B): XGBoost regressor, squared error,
depth 6, no other setting; step size and rounds are the pair with the lowest RMSE in 5-fold cross-validation.
Two departures: 500 rounds are not on the grid, because such a model takes five times the space, and trees are
grown with exact splits, the default when HPO-B was made.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ETAS = (0.001, 0.01, 0.1, 0.5)
ROUNDS = (20, 50, 100)
DEPTH = 6
CV_FOLDS = 5
CV_SEED = 123
# Thresholds lie between coordinates of 6 decimals and leaves are far below 1: 7 decimals are enough for both.
MODEL_DECIMALS = 7


@dataclass(frozen=True)
class Fit:
    """A fitted surrogate.

    Args:
        model: XGBoost's JSON model as a dict.
        eta: Step size chosen.
        rounds: Rounds chosen.
        r2: Cross-validated coefficient of determination of the chosen pair.
        spearman: Cross-validated rank correlation.
        spearman_top: The same among the better half of the evaluations.
        rmse: Cross-validated root mean squared error, in accuracy.
    """

    model: dict[str, Any]
    eta: float
    rounds: int
    r2: float
    spearman: float
    spearman_top: float
    rmse: float


def _params(eta: float) -> dict[str, Any]:
    return {
        "max_depth": DEPTH,
        "eta": eta,
        "objective": "reg:squarederror",
        "tree_method": "exact",
        "nthread": 1,
        "seed": 0,
    }


def _out_of_fold(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> dict[tuple[float, int], NDArray[np.float64]]:
    """(eta, rounds) -> (n,) predictions of each point by the model that has not seen its fold."""
    import xgboost

    fold = np.random.default_rng(CV_SEED).permutation(len(y)) % CV_FOLDS
    out = {pair: np.empty(len(y)) for pair in itertools.product(ETAS, ROUNDS)}
    for k, eta in itertools.product(range(CV_FOLDS), ETAS):
        train, test = fold != k, fold == k
        booster = xgboost.train(_params(eta), xgboost.DMatrix(x[train], label=y[train]), max(ROUNDS))
        held_out = xgboost.DMatrix(x[test])
        for rounds in ROUNDS:
            out[eta, rounds][test] = booster.predict(held_out, iteration_range=(0, rounds))
    return out


def _slim(raw: bytes) -> dict[str, Any]:
    """XGBoost's JSON without training statistics, rounded; readable by older versions too."""
    model: dict[str, Any] = json.loads(raw)
    learner = model["learner"]
    base = learner["learner_model_param"]
    # Since 3.1 the base score is written as a vector, which older readers refuse; a number is read by all.
    base["base_score"] = base["base_score"].strip("[]")
    learner["attributes"] = {}
    for tree in learner["gradient_booster"]["model"]["trees"]:
        for statistic in ("loss_changes", "sum_hessian", "base_weights"):
            tree[statistic] = [0.0] * len(tree[statistic])
        tree["split_conditions"] = [round(value, MODEL_DECIMALS) for value in tree["split_conditions"]]
    return model


def fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> Fit:
    """Fit the surrogate of one task.

    Args:
        x: (n, d) evaluated points in [0, 1].
        y: (n,) accuracies.

    Returns:
        The slimmed model with its cross-validated quality.
    """
    import xgboost
    from scipy.stats import spearmanr

    predictions = _out_of_fold(x, y)
    eta, rounds = min(predictions, key=lambda pair: float(np.mean((predictions[pair] - y) ** 2)))
    held_out = predictions[eta, rounds]
    top = y >= np.median(y)
    booster = xgboost.train(_params(eta), xgboost.DMatrix(x, label=y), rounds)
    return Fit(
        model=_slim(bytes(booster.save_raw("json"))),
        eta=eta,
        rounds=rounds,
        r2=1.0 - float(np.mean((held_out - y) ** 2) / np.var(y)),
        spearman=float(spearmanr(held_out, y).statistic),
        spearman_top=float(spearmanr(held_out[top], y[top]).statistic),
        rmse=float(np.sqrt(np.mean((held_out - y) ** 2))),
    )
