# SPDX-License-Identifier: Apache-2.0
"""Fits the learner that a configuration of `spaces.py` describes and predicts the held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
SEED = 0
# Caps that keep an evaluation under 0.1 s; a configuration that would need more steps is worse for it.
SVM_STEPS = 20_000
MLP_EPOCHS = 15
MAX_BIN = 64


def _weights(choice: str) -> str | None:
    return None if choice == "none" else choice


def _svm(c: Mapping[str, Any]) -> Any:
    from sklearn.svm import SVC

    given = {name: c[name] for name in ("C", "kernel", "gamma", "degree", "coef0") if name in c}
    return SVC(**given, class_weight=_weights(c.get("class_weight", "none")), max_iter=SVM_STEPS)


def _mlp(c: Mapping[str, Any]) -> Any:
    from sklearn.neural_network import MLPClassifier

    names = ("activation", "alpha", "solver", "learning_rate_init", "batch_size", "beta_1", "momentum")
    given = {name: c[name] for name in (*names, "nesterovs_momentum") if name in c}
    units = tuple(c[f"units_{layer}"] for layer in range(1, c["layers"] + 1))
    return MLPClassifier(hidden_layer_sizes=units, max_iter=MLP_EPOCHS, random_state=SEED, **given)


def _linear(c: Mapping[str, Any]) -> Any:
    from sklearn.linear_model import SGDClassifier

    given = {name: c[name] for name in ("learning_rate", "eta0", "average", "l1_ratio") if name in c}
    return SGDClassifier(
        loss=c["loss"],
        penalty=c["penalty"],
        alpha=c["alpha"],
        class_weight=_weights(c.get("class_weight", "none")),
        max_iter=c.get("max_iter", 20),
        tol=None,
        random_state=SEED,
        **given,
    )


def _forest(c: Mapping[str, Any]) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    kind = ExtraTreesClassifier if c.get("ensemble") == "extra_trees" else RandomForestClassifier
    return kind(
        n_estimators=c["n_estimators"],
        max_features=c["max_features"],
        criterion=c["criterion"],
        max_depth=c.get("max_depth"),
        min_samples_leaf=c.get("min_samples_leaf", 1),
        bootstrap=c.get("bootstrap", True),
        class_weight=_weights(c.get("class_weight", "none")),
        random_state=SEED,
        n_jobs=1,
    )


def _neighbors(c: Mapping[str, Any], rows: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(
        n_neighbors=min(c["n_neighbors"], rows),
        weights=c["weights"],
        metric=c.get("metric", "minkowski"),
        p=c.get("p", 2.0),
        algorithm="brute",
    )


def _pipeline(c: Mapping[str, Any], rows: int, columns: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import SelectKBest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

    steps: list[Any] = []
    if c["scaler"] != "none":
        scalers = {
            "standard": StandardScaler(),
            "minmax": MinMaxScaler(),
            "quantile": QuantileTransformer(n_quantiles=min(100, rows), random_state=SEED),
        }
        steps.append(scalers[c["scaler"]])
    if c["reducer"] == "pca":
        count = min(max(1, round(c["components"] * columns)), rows)
        steps.append(PCA(count, whiten=c["whiten"], svd_solver="full"))
    elif c["reducer"] == "kbest":
        steps.append(SelectKBest(k=max(1, round(c["kept"] * columns))))
    return make_pipeline(*steps, _neighbors(c, rows))


def _xgboost(c: Mapping[str, Any], x: Floats, y: Labels, held_out: Floats, n_classes: int) -> Floats:
    import xgboost

    params = {name: value for name, value in c.items() if name != "n_rounds"}
    params |= {"nthread": 1, "seed": SEED, "verbosity": 0, "base_score": 0.5}
    params |= {"objective": "multi:softprob", "num_class": n_classes}
    if c.get("booster") == "gblinear":
        # The default updater races over the coordinates and gives other digits each time.
        params["updater"] = "coord_descent"
    else:
        params |= {"tree_method": "hist", "max_bin": MAX_BIN}
        if c.get("grow_policy") == "lossguide":
            params["max_depth"] = 0
    booster = xgboost.train(params, xgboost.DMatrix(x, label=y, nthread=1), num_boost_round=c["n_rounds"])
    return np.asarray(booster.predict(xgboost.DMatrix(held_out, nthread=1)), dtype=np.float64)


def _estimator(space: str, c: Mapping[str, Any], rows: int, columns: int) -> Any:
    if space == "svm":
        return _svm(c)
    if space == "mlp":
        return _mlp(c)
    if space == "linear":
        return _linear(c)
    if space == "forest":
        return _forest(c)
    # The caller sends "neighbors" as a pipeline, and as a plain learner where there is no scaler to choose.
    return _pipeline(c, rows, columns) if "scaler" in c else _neighbors(c, rows)


def fit_predict(
    space: str, c: Mapping[str, Any], x: Floats, y: Labels, held_out: Floats, n_classes: int
) -> tuple[Labels, Floats | None]:
    """Fit on (x, y), predict the held-out rows.

    Args:
        space: a key of `spaces.SPACES`.
        c: a configuration of it: its active parameters.
        x: (n, p) training rows without missing values.
        y: (n,) labels 0..n_classes-1, every class present.
        held_out: (m, p).
        n_classes: number of classes.

    Returns:
        (m,) labels, and (m, n_classes) probabilities or None where the learner has none.
    """
    if space == "classifier":
        own = f"{c['learner']}:"
        chosen = {name.removeprefix(own): value for name, value in c.items() if name.startswith(own)}
        chosen.pop("depth", None)
        space, c = {"boosting": "xgboost"}.get(c["learner"], c["learner"]), chosen
    if space == "xgboost":
        probability = _xgboost(c, x, y, held_out, n_classes)
        return probability.argmax(axis=1), probability
    model = _estimator(space, c, *x.shape)
    try:
        model.fit(x, y)
        label = model.predict(held_out)
        probability = model.predict_proba(held_out) if hasattr(model, "predict_proba") else None
    except ValueError as error:
        # Weights that overflowed: a run that diverged has learnt nothing and predicts the largest class.
        if not any(word in str(error).lower() for word in ("finite", "overflow", "nan", "infinity")):
            raise
        label = np.full(len(held_out), np.bincount(y).argmax())
        probability = np.full((len(held_out), n_classes), 1 / n_classes)
    return label, probability
