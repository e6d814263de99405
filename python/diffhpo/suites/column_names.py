# SPDX-License-Identifier: Apache-2.0
"""What the columns of the suites' search spaces are called.

HPO-B's handler hands a method numbers without names; a user's search space has names. Methods that can read
them are given them here, those that cannot are not.
"""

from __future__ import annotations

from diffhpo.suites.x48 import HYPERPARAMETERS

_SVM = "cost gamma gamma.na degree degree.na kernel.ohe._INVALID kernel.ohe._linear kernel.ohe._polynomial"
_RPART = "minsplit minsplit.na minbucket cp maxdepth maxdepth.na"
_GLMNET = "alpha lambda"
_XGBOOST = (
    "eta max_depth max_depth.na min_child_weight min_child_weight.na subsample colsample_bytree "
    "colsample_bytree.na colsample_bylevel colsample_bylevel.na lambda alpha nrounds nrounds.na "
    "booster.ohe._INVALID booster.ohe._gblinear"
)
_RANGER_SPLIT = (
    "num.trees num.trees.na mtry sample.fraction min.node.size min.node.size.na replace.ohe._FALSE "
    "replace.ohe._INVALID respect.unordered.factors.ohe._INVALID respect.unordered.factors.ohe._TRUE"
)
_RANGER = (
    "num.trees num.trees.na mtry min.node.size sample.fraction respect.unordered.factors.ohe._INVALID "
    "respect.unordered.factors.ohe._TRUE replace.ohe._FALSE replace.ohe._INVALID"
)

#: HPO-B's search spaces and their columns in order (`meta-dataset-descriptors.json`, "variables_order").
HPOB_COLUMNS: dict[str, tuple[str, ...]] = {
    space: tuple(columns.split())
    for space, columns in {
        "4796": "minsplit minbucket cp",
        "5527": _SVM,
        "5636": _RPART,
        "5859": _RPART,
        "5860": _GLMNET,
        "5889": "num.trees num.trees.na mtry sample.fraction replace.ohe._FALSE replace.ohe._INVALID",
        "5891": _SVM,
        "5906": _XGBOOST,
        "5965": _RANGER_SPLIT,
        "5970": _GLMNET,
        "5971": _XGBOOST,
        "6766": _GLMNET,
        "6767": (
            "eta subsample lambda alpha nthread nthread.na nrounds nrounds.na max_depth max_depth.na "
            "min_child_weight min_child_weight.na colsample_bytree colsample_bytree.na colsample_bylevel "
            "colsample_bylevel.na booster.ohe._INVALID booster.ohe._gblinear"
        ),
        "6794": _RANGER_SPLIT,
        "7607": _RANGER,
        "7609": _RANGER,
    }.items()
}

#: The other suites' search spaces.
OTHER_COLUMNS: dict[str, tuple[str, ...]] = {
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
    "x48": HYPERPARAMETERS,
}


def column_names(space: str, dim: int) -> tuple[str, ...] | None:
    """The names of a search space's columns, or None if they are not known.

    Args:
        space: its name in the suite.
        dim: its number of columns. `hpob-reduced` has HPO-B's columns without the indicators, in
            alphabetical order.

    Example:
        >>> column_names("5636", 4), column_names("5636", 5)
        (('cp', 'maxdepth', 'minbucket', 'minsplit'), None)
    """
    if space == "xgboost":
        from diffhpo.hpob import suite

        known = [tuple(column.name for column in suite.describe())]
    elif space in HPOB_COLUMNS:
        columns = HPOB_COLUMNS[space]
        plain = sorted(name for name in columns if not name.endswith(".na") and ".ohe." not in name)
        known = [columns, tuple(plain)]
    else:
        known = [OTHER_COLUMNS.get(space, ())]
    return next((names for names in known if len(names) == dim), None)
