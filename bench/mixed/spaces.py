# SPDX-License-Identifier: Apache-2.0
"""The search spaces, in ConfigSpace's language: choices, whole numbers, and parameters that exist only under
certain choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    EqualsCondition,
    GreaterThanCondition,
    InCondition,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)


class _Builder:
    """A space under construction; the last argument of each method names the parent and its values."""

    def __init__(self) -> None:
        self.space = ConfigurationSpace(seed=0)

    def _add(self, parameter: Any, when: tuple[str, Any] | None) -> None:
        self.space.add(parameter)
        if when is None:
            return
        parent, values = self.space[when[0]], when[1]
        self.space.add(
            InCondition(parameter, parent, list(values))
            if isinstance(values, (list, tuple))
            else EqualsCondition(parameter, parent, values)
        )

    def real(
        self, name: str, low: float, high: float, *, log: bool = False, when: tuple[str, Any] | None = None
    ) -> None:
        self._add(UniformFloatHyperparameter(name, low, high, log=log), when)

    def whole(
        self, name: str, low: int, high: int, *, log: bool = False, when: tuple[str, Any] | None = None
    ) -> None:
        self._add(UniformIntegerHyperparameter(name, low, high, log=log), when)

    def choice(self, name: str, *choices: Any, when: tuple[str, Any] | None = None) -> None:
        self._add(CategoricalHyperparameter(name, choices), when)

    def ordered(self, name: str, *values: Any, when: tuple[str, Any] | None = None) -> None:
        self._add(OrdinalHyperparameter(name, values), when)


def _svm() -> ConfigurationSpace:
    b = _Builder()
    b.real("C", 2.0**-6, 2.0**10, log=True)
    b.choice("kernel", "linear", "rbf", "poly", "sigmoid")
    b.real("gamma", 2.0**-10, 2.0**3, log=True, when=("kernel", ["rbf", "poly", "sigmoid"]))
    b.whole("degree", 2, 5, when=("kernel", "poly"))
    b.real("coef0", -1.0, 1.0, when=("kernel", ["poly", "sigmoid"]))
    b.choice("class_weight", "none", "balanced")
    return b.space


def _classifier() -> ConfigurationSpace:
    """Which learner, and that learner's parameters: 31 columns with categories one-hot."""
    b = _Builder()
    b.choice("learner", "svm", "forest", "neighbors", "linear", "boosting")
    svm = ("learner", "svm")
    b.real("svm:C", 2.0**-6, 2.0**10, log=True, when=svm)
    b.choice("svm:kernel", "linear", "rbf", "poly", when=svm)
    b.real("svm:gamma", 2.0**-10, 2.0**3, log=True, when=("svm:kernel", ["rbf", "poly"]))
    b.whole("svm:degree", 2, 5, when=("svm:kernel", "poly"))
    forest = ("learner", "forest")
    b.whole("forest:n_estimators", 8, 48, log=True, when=forest)
    b.real("forest:max_features", 0.05, 1.0, when=forest)
    b.choice("forest:criterion", "gini", "entropy", when=forest)
    b.choice("forest:depth", "free", "bounded", when=forest)
    b.whole("forest:max_depth", 1, 20, when=("forest:depth", "bounded"))
    neighbors = ("learner", "neighbors")
    b.whole("neighbors:n_neighbors", 1, 64, log=True, when=neighbors)
    b.choice("neighbors:weights", "uniform", "distance", when=neighbors)
    b.real("neighbors:p", 1.0, 4.0, when=neighbors)
    linear = ("learner", "linear")
    b.real("linear:alpha", 2.0**-20, 1.0, log=True, when=linear)
    b.choice("linear:loss", "hinge", "log_loss", "modified_huber", when=linear)
    b.choice("linear:penalty", "l2", "l1", "elasticnet", when=linear)
    b.real("linear:l1_ratio", 0.0, 1.0, when=("linear:penalty", "elasticnet"))
    boosting = ("learner", "boosting")
    b.real("boosting:eta", 2.0**-8, 1.0, log=True, when=boosting)
    b.whole("boosting:n_rounds", 4, 64, log=True, when=boosting)
    b.whole("boosting:max_depth", 1, 10, when=boosting)
    b.real("boosting:subsample", 0.1, 1.0, when=boosting)
    return b.space


def _xgboost() -> ConfigurationSpace:
    b = _Builder()
    b.choice("booster", "gbtree", "dart", "gblinear")
    b.real("eta", 2.0**-8, 1.0, log=True)
    b.whole("n_rounds", 4, 64, log=True)
    b.real("lambda", 2.0**-10, 2.0**8, log=True)
    b.real("alpha", 2.0**-10, 2.0**4, log=True)
    trees = ("booster", ["gbtree", "dart"])
    b.choice("grow_policy", "depthwise", "lossguide", when=trees)
    b.whole("max_depth", 1, 12, when=("grow_policy", "depthwise"))
    b.whole("max_leaves", 2, 64, log=True, when=("grow_policy", "lossguide"))
    b.real("subsample", 0.1, 1.0, when=trees)
    b.real("colsample_bytree", 0.1, 1.0, when=trees)
    b.real("min_child_weight", 2.0**-4, 2.0**5, log=True, when=trees)
    b.real("rate_drop", 0.0, 0.5, when=("booster", "dart"))
    b.choice("normalize_type", "tree", "forest", when=("booster", "dart"))
    b.choice("feature_selector", "cyclic", "shuffle", when=("booster", "gblinear"))
    return b.space


def _mlp() -> ConfigurationSpace:
    b = _Builder()
    b.choice("activation", "relu", "tanh", "logistic")
    b.whole("layers", 1, 3)
    b.whole("units_1", 4, 64, log=True)
    for layer in (2, 3):
        parameter = UniformIntegerHyperparameter(f"units_{layer}", 4, 64, log=True)
        b.space.add(parameter)
        b.space.add(GreaterThanCondition(parameter, b.space["layers"], layer - 1))
    b.real("alpha", 2.0**-16, 2.0**3, log=True)
    b.choice("solver", "adam", "sgd", "lbfgs")
    stepped = ("solver", ["adam", "sgd"])
    b.real("learning_rate_init", 2.0**-12, 1.0, log=True, when=stepped)
    b.ordered("batch_size", 32, 64, 128, 256, when=stepped)
    b.real("beta_1", 0.5, 0.99, when=("solver", "adam"))
    b.real("momentum", 0.0, 0.99, when=("solver", "sgd"))
    b.choice("nesterovs_momentum", False, True, when=("solver", "sgd"))
    return b.space


def _neighbors() -> ConfigurationSpace:
    """A pipeline: scaling, reduction, nearest neighbours."""
    b = _Builder()
    b.choice("scaler", "none", "standard", "minmax", "quantile")
    b.choice("reducer", "none", "pca", "kbest")
    b.real("components", 0.05, 1.0, when=("reducer", "pca"))
    b.choice("whiten", False, True, when=("reducer", "pca"))
    b.real("kept", 0.05, 1.0, when=("reducer", "kbest"))
    b.whole("n_neighbors", 1, 64, log=True)
    b.choice("weights", "uniform", "distance")
    b.choice("metric", "minkowski", "chebyshev", "cosine", "canberra")
    b.real("p", 1.0, 4.0, when=("metric", "minkowski"))
    return b.space


def _linear() -> ConfigurationSpace:
    """Not conditional: every parameter always has an effect."""
    b = _Builder()
    b.choice("loss", "hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron")
    b.choice("penalty", "l2", "l1", "elasticnet")
    b.choice("learning_rate", "constant", "invscaling", "adaptive")
    b.choice("class_weight", "none", "balanced")
    b.choice("average", False, True)
    b.real("alpha", 2.0**-20, 1.0, log=True)
    b.real("eta0", 2.0**-12, 2.0**2, log=True)
    b.whole("max_iter", 1, 30, log=True)
    return b.space


def _forest() -> ConfigurationSpace:
    """Not conditional: every parameter always has an effect."""
    b = _Builder()
    b.choice("ensemble", "random_forest", "extra_trees")
    b.choice("criterion", "gini", "entropy")
    b.choice("class_weight", "none", "balanced", "balanced_subsample")
    b.choice("bootstrap", False, True)
    b.ordered("max_depth", 2, 3, 4, 6, 8, 12, 16)
    b.whole("n_estimators", 4, 48, log=True)
    b.real("max_features", 0.05, 1.0)
    b.whole("min_samples_leaf", 1, 32, log=True)
    return b.space


#: name -> what builds it.
SPACES: dict[str, Callable[[], ConfigurationSpace]] = {
    "svm": _svm,
    "classifier": _classifier,
    "xgboost": _xgboost,
    "mlp": _mlp,
    "neighbors": _neighbors,
    "linear": _linear,
    "forest": _forest,
}
#: Spaces without conditions, for samplers that need a fixed space.
UNCONDITIONAL = ("linear", "forest")
