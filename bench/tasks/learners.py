# SPDX-License-Identifier: Apache-2.0
"""Fits a learner in the units of `spaces.py` and predicts the held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Caps that keep an evaluation near 0.1 s; a configuration that would need more steps is worse for it.
SVM_STEPS = 20_000
MLP_EPOCHS = 20
LOGISTIC_EPOCHS = 100


def _estimator(learner: str, c: dict[str, Any], n_train: int, seed: int) -> Any:
    if learner == "svm":
        from sklearn.svm import SVC

        return SVC(C=c["cost"], gamma=c["gamma"], kernel=c["kernel"], degree=c["degree"], max_iter=SVM_STEPS)
    if learner == "decision_tree":
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(**c, random_state=seed)
    if learner == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(**c, bootstrap=True, n_jobs=1, random_state=seed)
    if learner == "elastic_net":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(
            solver="saga",
            l1_ratio=c["l1_ratio"],
            C=1.0 / (n_train * c["lambda"]),
            tol=1e-3,
            max_iter=LOGISTIC_EPOCHS,
            random_state=seed,
        )
    if learner == "mlp":
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(
            hidden_layer_sizes=(c["hidden_units"],) * c["layers"],
            activation=c["activation"],
            solver="sgd",
            alpha=c["weight_decay"],
            batch_size=c["batch_size"],
            learning_rate_init=c["learning_rate"],
            momentum=c["momentum"],
            max_iter=MLP_EPOCHS,
            random_state=seed,
        )
    if learner == "knn":
        from sklearn.neighbors import KNeighborsClassifier

        # A small table has fewer rows than the largest number of neighbours.
        return KNeighborsClassifier(
            n_neighbors=min(c["n_neighbors"], n_train), p=c["p"], weights=c["weights"], algorithm="brute"
        )
    if learner == "linear_sgd":
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(
            loss=c["loss"],
            penalty="elasticnet",
            alpha=c["alpha"],
            l1_ratio=c["l1_ratio"],
            learning_rate="invscaling",
            eta0=c["eta0"],
            power_t=c["power_t"],
            max_iter=c["epochs"],
            tol=None,
            random_state=seed,
        )
    raise ValueError(f"learner is {learner!r}; accepted are those of spaces.py")


def _xgboost(
    c: dict[str, Any], x: Floats, y: NDArray[np.int64], held_out: Floats, n_classes: int, seed: int
) -> Floats:
    import xgboost

    params = {key: value for key, value in c.items() if key != "nrounds"}
    params |= {"tree_method": "hist", "max_bin": 64, "nthread": 1, "seed": seed, "verbosity": 0}
    params |= {"objective": "multi:softprob", "num_class": n_classes, "base_score": 0.5}
    booster = xgboost.train(params, xgboost.DMatrix(x, label=y, nthread=1), num_boost_round=c["nrounds"])
    return np.asarray(booster.predict(xgboost.DMatrix(held_out, nthread=1)), dtype=np.float64)


def fit_predict(
    learner: str,
    config: dict[str, Any],
    x: Floats,
    y: NDArray[np.int64],
    held_out: Floats,
    n_classes: int,
    seed: int,
) -> tuple[NDArray[np.int64], Floats | None]:
    """Fit on (x, y), predict the held-out rows.

    Args:
        learner: A key of `spaces.SPACES`.
        config: Native values of its columns.
        x: (n, p) standardised training rows.
        y: (n,) labels 0..n_classes-1, every class present.
        held_out: (m, p).
        n_classes: Number of classes.
        seed: Seed of learners that draw random numbers.

    Returns:
        (m,) labels, and (m, n_classes) probabilities or None where the learner has none.
    """
    if learner == "xgboost":
        probability = _xgboost(config, x, y, held_out, n_classes, seed)
        return probability.argmax(axis=1), probability
    model = _estimator(learner, config, len(y), seed)
    try:
        model.fit(x, y)
    except ValueError as error:
        # Weights that overflowed: a run that diverged has learnt nothing and predicts the largest class.
        if "finite" not in str(error) and "overflow" not in str(error).lower() and "NaN" not in str(error):
            raise
        return np.full(len(held_out), np.bincount(y).argmax()), np.full((len(held_out), n_classes), 1e-4)
    if learner in ("svm", "linear_sgd"):
        return model.predict(held_out), None
    probability = model.predict_proba(held_out)
    return probability.argmax(axis=1), probability
