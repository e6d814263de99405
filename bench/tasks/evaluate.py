# SPDX-License-Identifier: Apache-2.0
"""One evaluation: cross-validated balanced accuracy and log-loss of a learner's configuration on a table."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from bench.suite.tables import Table
from bench.tasks.learners import fit_predict
from numpy.typing import NDArray

FOLDS = 3
SEED = 0
MAX_ROWS = 500
# Probabilities are kept off 0 and 1, so that one confident mistake does not decide a whole log-loss.
MIN_PROBABILITY = 1e-4
RESPONSES = ("balanced_accuracy", "log_loss")


def _numbers(x: NDArray[np.float32], train: NDArray[np.intp]) -> NDArray[np.float64]:
    """Missing values become the training rows' median; columns get the training rows' mean 0 and spread 1."""
    x = np.asarray(x, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that is empty in the training rows
        median = np.nan_to_num(np.nanmedian(x[train], axis=0))
    x = np.where(np.isnan(x), median, x)
    spread = x[train].std(axis=0)
    return (x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0)


class Evaluator:
    """Both responses on one table, with the same rows, folds and seed for every configuration.

    Args:
        table: The table; at most MAX_ROWS of its rows are used, by a stratified draw.
    """

    def __init__(self, table: Table) -> None:
        from sklearn.model_selection import StratifiedKFold, train_test_split

        x, y = table.x, table.y
        if len(y) > MAX_ROWS:
            x, _, y, _ = train_test_split(x, y, train_size=MAX_ROWS, stratify=y, random_state=SEED)
            classes, count = np.unique(y, return_counts=True)
            keep = np.isin(y, classes[count >= FOLDS])
            x, y = x[keep], np.unique(y[keep], return_inverse=True)[1]
        self.n_classes = len(np.unique(y))
        self.rows = len(y)
        self._folds = []
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y):
            z = _numbers(x, train)
            self._folds.append((z[train], y[train], z[test], y[test]))

    def __call__(self, learner: str, config: dict[str, Any]) -> dict[str, float]:
        """The responses of one configuration in native units; the negative of the log-loss, so both are
        better where larger.  A learner that gives no probabilities has balanced accuracy only."""
        labels, truths, losses = [], [], []
        for x_train, y_train, x_test, y_test in self._folds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # learners that stop before they converge
                label, probability = fit_predict(
                    learner, config, x_train, y_train, x_test, self.n_classes, SEED
                )
            labels.append(label)
            truths.append(y_test)
            if probability is not None:
                p = np.clip(probability[np.arange(len(y_test)), y_test], MIN_PROBABILITY, 1.0)
                losses.append(np.log(np.nan_to_num(p, nan=MIN_PROBABILITY)))
        label, truth = np.concatenate(labels), np.concatenate(truths)
        recall = [np.mean(label[truth == c] == c) for c in range(self.n_classes)]
        out = {"balanced_accuracy": round(float(np.mean(recall)), 6)}
        if losses:
            out["log_loss"] = round(float(np.mean(np.concatenate(losses))), 6)
        return out
