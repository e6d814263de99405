# SPDX-License-Identifier: Apache-2.0
"""What a hyperparameter's name says about its part in a learner.

A model that has seen thousands of tuning runs knows how a learning rate behaves; a user's name for a
parameter tells it which one that is. A role is such a meaning. Names of R's mlr and caret, scikit-learn,
XGBoost, LightGBM, CatBoost and common neural network code are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

#: Roles in the order of their numbers; 0 stands for a name that says nothing.
ROLES: tuple[str, ...] = (
    "unknown",
    "learning rate",
    "number of rounds, trees or epochs",
    "depth of a tree",
    "number of leaves",
    "smallest leaf",
    "smallest node that is split",
    "share of rows",
    "share of columns",
    "L1 strength",
    "L2 strength",
    "mixing of L1 and L2",
    "smallest gain of a split",
    "cost of errors (C)",
    "width of a kernel",
    "degree of a polynomial",
    "offset of a kernel",
    "kernel",
    "variant of the algorithm",
    "criterion or loss",
    "activation",
    "dropout",
    "momentum",
    "batch size",
    "units of a layer",
    "number of layers",
    "neighbours",
    "distance or its weights",
    "tolerance",
    "number of bins",
    "drawing with replacement",
    "decay of the learning rate",
    "weights of classes",
)
_NAMES: Mapping[str, str] = {
    "learning rate": "eta learning_rate learning_rate_init lr eta0 shrinkage step_size init_lr base_lr "
    "max_lr",
    "number of rounds, trees or epochs": "n_estimators num_trees ntree ntrees nrounds n_rounds rounds "
    "num_rounds num_round num_boost_round num_boosting_rounds boosting_rounds num_iterations iterations "
    "n_iter max_iter epochs n_epochs num_epochs max_epochs trees n_trees numtrees num_iters mstop steps "
    "num_steps maxit",
    "depth of a tree": "max_depth maxdepth depth tree_depth interaction_depth treedepth max_tree_depth",
    "number of leaves": "num_leaves max_leaves max_leaf_nodes maxnodes leaves n_leaves",
    "smallest leaf": "min_samples_leaf minbucket min_node_size nodesize min_child_weight min_data_in_leaf "
    "min_child_samples n_minobsinnode min_sum_hessian_in_leaf min_weight_fraction_leaf min_rows "
    "min_leaf_size min_n",
    "smallest node that is split": "min_samples_split minsplit min_split min_data_in_node",
    "share of rows": "subsample sample_fraction max_samples bagging_fraction sampsize bag_fraction "
    "row_sample sample_rate",
    "share of columns": "colsample_bytree colsample_bylevel colsample_bynode max_features mtry "
    "feature_fraction feature_fraction_bynode rsm colsample col_sample_rate mtries",
    "L1 strength": "reg_alpha lambda_l1 l1 l1_reg alpha l1_regularization l1_penalty",
    "L2 strength": "reg_lambda lambda_l2 l2 weight_decay lambda l2_leaf_reg l2_reg l2_regularization lambd "
    "l2_penalty decay wd ridge",
    "mixing of L1 and L2": "l1_ratio elastic_net_mixing elasticnet_param mixture elastic_net_param",
    "smallest gain of a split": "min_split_gain min_split_loss min_gain_to_split cp ccp_alpha "
    "min_impurity_decrease min_impurity_split complexity_parameter mincriterion min_loss_reduction",
    "cost of errors (C)": "c cost complexity",
    "width of a kernel": "gamma sigma length_scale lengthscale bandwidth rbf_sigma",
    "degree of a polynomial": "degree poly_degree polynomial_degree",
    "offset of a kernel": "coef0 offset",
    "kernel": "kernel kernel_type",
    "variant of the algorithm": "booster boosting_type boosting grow_policy algorithm solver optimizer "
    "optimiser tree_method method splitter variant",
    "criterion or loss": "criterion splitrule loss objective split impurity",
    "activation": "activation nonlinearity activation_fn act",
    "dropout": "dropout dropout_rate drop_rate p_drop dropout_p rate_drop input_dropout hidden_dropout",
    "momentum": "momentum beta1 beta_1 beta2 beta_2",
    "batch size": "batch_size minibatch_size batchsize mini_batch_size",
    "units of a layer": "hidden_units units n_units num_units hidden_layer_sizes width hidden_size "
    "hidden_dim n_hidden num_hidden channels n_units_1 n_units_2 size d_model",
    "number of layers": "layers n_layers num_layers hidden_layers number_of_layers n_hidden_layers",
    "neighbours": "n_neighbors k kknn neighbors n_neighbours kmax num_neighbors",
    "distance or its weights": "p metric distance weights",
    "tolerance": "tol tolerance epsilon eps thresh",
    "number of bins": "max_bin n_bins max_bins border_count nbins num_bins",
    "drawing with replacement": "bootstrap replace replacement with_replacement",
    "decay of the learning rate": "power_t lr_decay learning_rate_decay decay_rate lr_gamma lr_schedule "
    "learning_rate_schedule scheduler lr_scheduler warmup warmup_steps warmup_ratio",
    "weights of classes": "class_weight class_weights scale_pos_weight",
}
_NUMBER = {role: number for number, role in enumerate(ROLES)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


#: Plain spelling -> role number.
_ROLE: Mapping[str, int] = MappingProxyType(
    {_plain(name): _NUMBER[role] for role, names in _NAMES.items() for name in names.split()}
)


def role_of(name: str) -> int:
    """Role of a parameter by its name alone.

    Case, dots, dashes and underscores do not matter; a pipeline's or one-hot coding's additions
    (`clf__max_depth`, `model.max_depth`, `kernel.ohe._rbf`) are taken off; a column that only flags a
    missing value (`eta.na`) has no role. A name with several meanings has its most common one:
    `gamma` is a kernel's width, `alpha` an L1 strength; `roles_of` knows them apart by the other names.

    Args:
        name: The parameter's name, as the user wrote it.

    Returns:
        Index into `ROLES`, 0 where the name is not known.

    Example:
        >>> ROLES[role_of("clf__learning_rate")], ROLES[role_of("min.node.size")]
        ('learning rate', 'smallest leaf')
        >>> role_of("frobnication")
        0
    """
    base = re.sub(r"\.ohe\._.*$", "", name.strip())
    for candidate in (base, base.rsplit("__", 1)[-1], re.split(r"[./:]", base)[-1]):
        role = _ROLE.get(_plain(candidate), 0)
        if role:
            return role
    return 0


def roles_of(names: Sequence[str]) -> list[int]:
    """Roles of all parameters of a space; names with several meanings are told apart by the others.

    * `gamma` beside a learning rate, a depth or leaves is a tree's smallest gain, else a kernel's width;
    * `alpha` beside `lambda` and nothing of a tree is glmnet's mixing of L1 and L2; beside units, layers
      or momentum it is scikit-learn's L2 strength of a network, beside `l1_ratio` that of a linear model;
    * `depth` beside units or a batch size is a number of layers;
    * `epsilon`, `tol` and the like are as `role_of` says.

    Args:
        names: The parameters' names.

    Returns:
        One index into `ROLES` a name.

    Example:
        >>> [ROLES[role] for role in roles_of(["gamma", "max_depth"])]
        ['smallest gain of a split', 'depth of a tree']
        >>> [ROLES[role] for role in roles_of(["gamma", "cost"])]
        ['width of a kernel', 'cost of errors (C)']
    """
    found = [role_of(name) for name in names]
    last = [_plain(re.split(r"__|[./:]", name.strip())[-1]) for name in names]
    # `gamma` and `alpha` themselves say nothing about the learner.
    others = {role for role, name in zip(found, last, strict=True) if name not in ("gamma", "alpha", "depth")}

    def near(*roles: str) -> bool:
        return any(_NUMBER[role] in others for role in roles)

    tree = near(
        "depth of a tree", "number of leaves", "smallest leaf", "share of columns", "share of rows"
    ) or ("depth" in last and near("learning rate", "number of rounds, trees or epochs"))
    network = near("units of a layer", "number of layers", "batch size", "activation", "dropout")
    for i, name in enumerate(last):
        if name == "gamma" and tree and not near("kernel", "cost of errors (C)"):
            found[i] = _NUMBER["smallest gain of a split"]
        elif name == "alpha" and (network or near("mixing of L1 and L2")):
            found[i] = _NUMBER["L2 strength"]
        elif name == "alpha" and "lambda" in last and not tree:
            found[i] = _NUMBER["mixing of L1 and L2"]
        elif name == "depth" and network:
            found[i] = _NUMBER["number of layers"]
    return found
