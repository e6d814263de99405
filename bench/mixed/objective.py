# SPDX-License-Identifier: Apache-2.0
"""One evaluation: the cross-validated response of a configuration on a table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from bench.mixed.learners import fit_predict
from bench.suite.tables import Table
from numpy.typing import NDArray

FOLDS = 3
SEED = 0
MAX_ROWS = 400
# Probabilities are kept off 0 and 1, so that one confident mistake does not decide a whole log-loss.
MIN_PROBABILITY = 1e-3
#: Of each space, larger is better. Accuracies of 400 rows tie often; where the learner gives probabilities
#: the log-loss is the finer response. The spaces whose learners may give none have balanced accuracy.
RESPONSE = {
    "svm": "balanced_accuracy",
    "classifier": "balanced_accuracy",
    "neighbors": "balanced_accuracy",
    "linear": "balanced_accuracy",
    "xgboost": "log_loss",
    "mlp": "log_loss",
    "forest": "log_loss",
}


def _filled(x: NDArray[np.float32], train: NDArray[np.intp], scale: bool) -> NDArray[np.float64]:
    """Missing values become the training rows' median; `scale` gives columns mean 0 and spread 1 there."""
    z = np.asarray(x, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that is empty in the training rows
        median = np.nan_to_num(np.nanmedian(z[train], axis=0))
    z = np.where(np.isnan(z), median, z)
    if not scale:
        return z
    spread = z[train].std(axis=0)
    return (z - z[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0)


class Objective:
    """The response of a space's configurations on one table: the same rows, folds and seeds for all.

    Args:
        space: a key of `spaces.SPACES`.
        table: at most MAX_ROWS of its rows are used, by a stratified draw.
    """

    def __init__(self, space: str, table: Table) -> None:
        from sklearn.model_selection import StratifiedKFold, train_test_split

        x, y = table.x, table.y
        if len(y) > MAX_ROWS:
            x, _, y, _ = train_test_split(x, y, train_size=MAX_ROWS, stratify=y, random_state=SEED)
        self.space, self.n_classes = space, int(y.max()) + 1
        self._folds = []
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y):
            z = _filled(x, train, scale=space != "neighbors")  # whose configurations choose a scaler
            self._folds.append((z[train], y[train], z[test], y[test]))

    def __call__(self, configuration: Mapping[str, Any]) -> float:
        """Balanced accuracy in [0, 1], or the mean log probability of the true class (<= 0); 6 decimals."""
        labels, truths, losses = [], [], []
        for x, y, held_out, truth in self._folds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # learners that stop before they converge
                label, probability = fit_predict(self.space, configuration, x, y, held_out, self.n_classes)
            labels.append(label)
            truths.append(truth)
            if probability is not None:
                p = np.nan_to_num(probability[np.arange(len(truth)), truth], nan=0.0)
                losses.append(np.log(np.clip(p, MIN_PROBABILITY, 1.0)))
        if RESPONSE[self.space] == "log_loss":
            return round(float(np.mean(np.concatenate(losses))), 6)
        label, truth = np.concatenate(labels), np.concatenate(truths)
        recall = [np.mean(label[truth == c] == c) for c in range(self.n_classes)]
        return round(float(np.mean(recall)), 6)
