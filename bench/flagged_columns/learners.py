# SPDX-License-Identifier: Apache-2.0
"""Search spaces like HPO-B's, whose parameters are absent at times, and the learners behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Configuration = Mapping[str, Any]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class FlaggedSpace:
    """A space as HPO-B describes one (`meta-dataset-descriptors.json`)."""

    draw: Callable[[np.random.Generator], dict[str, Any]]
    """One configuration; None for a parameter that is absent."""
    numbers: tuple[str, ...]
    """Parameters that are numbers, in the order of their columns."""
    choices: Mapping[str, tuple[str, ...]]
    """Parameters that are choices -> those that get a column; the first in R's order gets none."""
    logarithmic: frozenset[str]
    """Of the numbers."""


def _xgboost(rng: np.random.Generator, threads: bool) -> dict[str, Any]:
    c: dict[str, Any] = {"eta": 2 ** rng.uniform(-10, 0), "subsample": rng.uniform(0.1, 1)}
    c |= {"lambda": 2 ** rng.uniform(-10, 10), "alpha": 2 ** rng.uniform(-10, 10)}
    c["nrounds"] = None if rng.random() < 0.15 else round(rng.uniform(1, 60))
    c["booster"] = str(rng.choice(["gblinear", "gbtree", "INVALID"], p=[0.4, 0.3, 0.3]))
    tree = c["booster"] != "gblinear"
    c["max_depth"] = int(rng.integers(1, 16)) if tree else None
    c["min_child_weight"] = 2 ** rng.uniform(0, 7) if tree else None
    c["colsample_bytree"] = rng.uniform(0, 1) if tree else None
    c["colsample_bylevel"] = rng.uniform(0, 1) if tree else None
    if threads:
        c["nthread"] = None if rng.random() < 0.5 else int(rng.integers(1, 9))
    return c


def _ranger(rng: np.random.Generator, default_node_size: bool) -> dict[str, Any]:
    c: dict[str, Any] = {"num.trees": None if rng.random() < 0.2 else int(rng.integers(1, 60))}
    c |= {"mtry": rng.random(), "sample.fraction": rng.uniform(0.1, 1)}
    c["replace"] = str(rng.choice(["TRUE", "FALSE", "INVALID"]))
    c["respect.unordered.factors"] = str(rng.choice(["INVALID", "TRUE", "FALSE"]))
    c["min.node.size"] = None if default_node_size and rng.random() < 0.4 else rng.random()
    return c


def _svm(rng: np.random.Generator) -> dict[str, Any]:
    kernel = str(rng.choice(["linear", "polynomial", "radial", "INVALID"]))
    c: dict[str, Any] = {"cost": 2 ** rng.uniform(-10, 10), "kernel": kernel}
    c["gamma"] = 2 ** rng.uniform(-10, 10) if kernel in ("radial", "INVALID") else None
    c["degree"] = int(rng.integers(2, 6)) if kernel == "polynomial" else None
    return c


def _rpart(rng: np.random.Generator) -> dict[str, Any]:
    sizes = {"minsplit": int(rng.integers(1, 61)), "minbucket": int(rng.integers(1, 61))}
    return sizes | {"cp": 2 ** rng.uniform(-13, 0)}


_TREES = ("max_depth", "min_child_weight")
_COLUMNS = ("colsample_bytree", "colsample_bylevel")
_BOOSTER = {"booster": ("INVALID", "gblinear")}
_LOG = frozenset({"eta", "min_child_weight", "lambda", "alpha"})
_REPLACE, _FACTORS = ("FALSE", "INVALID"), ("INVALID", "TRUE")

#: Name -> space; the numbers of columns are those of HPO-B's spaces 5971, 5965, 5527, 6767, 7607 and 4796.
SPACES: dict[str, FlaggedSpace] = {
    "xgb16": FlaggedSpace(
        lambda rng: _xgboost(rng, False),
        ("eta", *_TREES, "subsample", *_COLUMNS, "lambda", "alpha", "nrounds"),
        _BOOSTER,
        _LOG,
    ),
    "ranger10": FlaggedSpace(
        lambda rng: _ranger(rng, True),
        ("num.trees", "mtry", "sample.fraction", "min.node.size"),
        {"replace": _REPLACE, "respect.unordered.factors": _FACTORS},
        frozenset(),
    ),
    "svm8": FlaggedSpace(
        _svm,
        ("cost", "gamma", "degree"),
        {"kernel": ("INVALID", "linear", "polynomial")},
        frozenset({"cost", "gamma"}),
    ),
    "xgb18": FlaggedSpace(
        lambda rng: _xgboost(rng, True),
        ("eta", "subsample", "lambda", "alpha", "nthread", "nrounds", *_TREES, *_COLUMNS),
        _BOOSTER,
        _LOG,
    ),
    "ranger9": FlaggedSpace(
        lambda rng: _ranger(rng, False),
        ("num.trees", "mtry", "min.node.size", "sample.fraction"),
        {"respect.unordered.factors": _FACTORS, "replace": _REPLACE},
        frozenset(),
    ),
    "rpart3": FlaggedSpace(_rpart, ("minsplit", "minbucket", "cp"), {}, frozenset({"cp"})),
}


def predicted(space: str, c: Configuration, x: Floats, y: Labels, held_out: Floats) -> Labels:
    """Labels of held-out rows by the learner that a configuration describes.

    Args:
        space: a key of `SPACES`.
        c: one of its configurations.
        x: (n, p) training rows.
        y: (n,) labels from 0.
        held_out: (m, p) rows.
    """
    if space.startswith("xgb"):
        return _boosted(c, x, y, held_out)
    if space.startswith("ranger"):
        from sklearn.ensemble import RandomForestClassifier

        drawn = c["replace"] != "FALSE"
        size = 1 if c["min.node.size"] is None else max(1, int(len(x) ** c["min.node.size"]))
        model: Any = RandomForestClassifier(
            c["num.trees"] or 40,
            max_features=max(1, round(x.shape[1] ** c["mtry"])),
            min_samples_split=max(2, size),
            bootstrap=drawn,
            max_samples=c["sample.fraction"] if drawn else None,
            random_state=0,
            n_jobs=1,
        )
    elif space == "svm8":
        from sklearn.svm import SVC

        kernel = {"radial": "rbf", "INVALID": "rbf", "polynomial": "poly", "linear": "linear"}[c["kernel"]]
        model = SVC(
            C=c["cost"], kernel=kernel, gamma=c["gamma"] or "auto", degree=c["degree"] or 3, max_iter=5000
        )
    else:
        from sklearn.tree import DecisionTreeClassifier

        model = DecisionTreeClassifier(
            min_samples_split=max(2, c["minsplit"]),
            min_samples_leaf=c["minbucket"],
            min_impurity_decrease=0.3 * c["cp"],
            random_state=0,
        )
    return np.asarray(model.fit(x, y).predict(held_out))


def _boosted(c: Configuration, x: Floats, y: Labels, held_out: Floats) -> Labels:
    import xgboost

    settings: dict[str, Any] = {name: c[name] for name in ("eta", "lambda", "alpha")}
    settings |= {"nthread": 1, "seed": 0, "verbosity": 0}
    settings |= {"objective": "multi:softprob", "num_class": int(y.max()) + 1}
    if c["booster"] == "gblinear":
        # The default updater races over the coordinates and gives other digits each time.
        settings |= {"booster": "gblinear", "updater": "coord_descent"}
    else:
        settings |= {name: c[name] for name in ("max_depth", "min_child_weight", "subsample")}
        settings |= {name: max(c[name], 1e-3) for name in _COLUMNS}
        settings |= {"tree_method": "hist", "max_bin": 32}
    model = xgboost.train(settings, xgboost.DMatrix(x, label=y, nthread=1), c["nrounds"] or 60)
    return np.asarray(model.predict(xgboost.DMatrix(held_out, nthread=1)).argmax(1))
