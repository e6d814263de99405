# SPDX-License-Identifier: Apache-2.0
"""What the columns of the suites' search spaces are called.

HPO-B's handler hands a method numbers without names; a user's search space has names. Methods that can read
them are given them here, those that cannot are not.
"""

from __future__ import annotations

_XGBOOST = (
    "alpha",
    "colsample_bylevel",
    "colsample_bytree",
    "eta",
    "lambda",
    "max_depth",
    "min_child_weight",
    "nrounds",
    "subsample",
)
_RANGER = ("min.node.size", "mtry", "num.trees", "sample.fraction")
_RPART = ("cp", "maxdepth", "minbucket", "minsplit")
_SVM = ("cost", "degree", "gamma")
_GLMNET = ("alpha", "lambda")

#: Search space -> names of its columns. Those of `hpob-reduced` are HPO-B's (`meta-dataset-descriptors.json`)
#: without indicator columns, in alphabetical order; those of X48 follow from their ranges.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "5527": _SVM,
    "5891": _SVM,
    "5636": _RPART,
    "5859": _RPART,
    "5860": _GLMNET,
    "5970": _GLMNET,
    "6766": _GLMNET,
    "5889": _RANGER[1:],
    "6794": _RANGER,
    "7609": _RANGER,
    "5906": _XGBOOST,
    "grid-mlp": ("alpha", "batch_size", "depth", "learning_rate_init", "width"),
    "grid-fcnet": (
        "activation_fn_1",
        "activation_fn_2",
        "batch_size",
        "dropout_1",
        "dropout_2",
        "init_lr",
        "lr_schedule",
        "n_units_1",
        "n_units_2",
    ),
    "x48": ("colsample_bylevel", "colsample_bytree", "eta", "min_child_weight", "reg_alpha", "reg_lambda"),
}


def column_names(space: str, dim: int) -> tuple[str, ...] | None:
    """The names of a search space's columns, or None if they are not known.

    Args:
        space: its name in the suite.
        dim: its number of columns; HPO-B's full spaces have more than the reduced ones of the same name.

    Example:
        >>> column_names("5860", 2), column_names("5860", 4)
        (('alpha', 'lambda'), None)
    """
    if space == "xgboost":
        from diffhpo.hpob import suite

        names = tuple(column.name for column in suite.describe())
    else:
        names = COLUMN_NAMES.get(space, ())
    return names if len(names) == dim else None
