# SPDX-License-Identifier: Apache-2.0
"""Names that users write find their roles."""

import pytest

from diffhpo.parameter_roles import ROLES, role_of, roles_of

# Spellings of HPO-B's descriptors, scikit-learn, XGBoost, LightGBM, CatBoost and torch.
NAMES = {
    "learning rate": "eta learning_rate learning_rate_init lr shrinkage",
    "number of rounds, trees or epochs": "nrounds ntree num.trees n_estimators epochs iterations",
    "depth of a tree": "max_depth maxdepth max.depth",
    "number of leaves": "num_leaves maxnodes max_leaf_nodes",
    "smallest leaf": "min_samples_leaf minbucket min.node.size nodesize min_child_weight min_data_in_leaf",
    "smallest node that is split": "min_samples_split minsplit",
    "share of rows": "subsample sample.fraction sampsize max_samples bagging_fraction",
    "share of columns": "colsample_bytree colsample_bylevel mtry max_features feature_fraction",
    "L1 strength": "reg_alpha lambda_l1 alpha",
    "L2 strength": "reg_lambda lambda_l2 lambda weight_decay l2_leaf_reg",
    "mixing of L1 and L2": "l1_ratio",
    "smallest gain of a split": "cp ccp_alpha min_split_gain min_impurity_split",
    "cost of errors (C)": "C cost",
    "width of a kernel": "gamma sigma",
    "degree of a polynomial": "degree",
    "offset of a kernel": "coef0",
    "kernel": "kernel kernel.ohe._rbf kernel_type.ohe._radial",
    "variant of the algorithm": "booster booster.ohe._gblinear boosting_type.ohe._dart solver",
    "criterion or loss": "criterion.ohe._gini criterion splitrule",
    "activation": "activation",
    "dropout": "dropout dropout_rate",
    "momentum": "momentum beta1",
    "batch size": "batch_size batch-size",
    "units of a layer": "hidden_layer_sizes hidden_units width",
    "number of layers": "n_layers num_layers layers",
    "neighbours": "k n_neighbors",
    "distance or its weights": "p metric weights",
    "tolerance": "tol tolerance epsilon",
    "number of bins": "max_bin border_count",
    "drawing with replacement": "bootstrap replace.ohe._FALSE",
    "decay of the learning rate": "power_t lr_decay",
    "weights of classes": "class_weight scale_pos_weight",
}


@pytest.mark.parametrize("role", NAMES)
def test_known_names(role):
    for name in NAMES[role].split():
        assert ROLES[role_of(name)] == role, name


def test_every_role_has_names_and_a_number_of_its_own():
    assert set(NAMES) == set(ROLES[1:])
    assert len(set(ROLES)) == len(ROLES)


@pytest.mark.parametrize("name", ["", "x1", "weka.F.M", "eta.na", "num-decimal-places", "__", "random_state"])
def test_names_that_say_nothing(name):
    assert role_of(name) == 0


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("MaxDepth", "max_depth"),
        ("clf__C", "C"),
        ("pipeline__svc__gamma", "gamma"),
        ("model.learning_rate", "eta"),
        ("optimizer/lr", "lr"),
        (" Batch-Size ", "batch_size"),
    ],
)
def test_spelling_does_not_matter(name, plain):
    assert role_of(name) == role_of(plain) > 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["gamma", "C", "kernel"], "width of a kernel"),
        (["gamma", "max_depth", "eta"], "smallest gain of a split"),
        (["clf__gamma", "clf__subsample"], "smallest gain of a split"),
        (["alpha", "lambda"], "mixing of L1 and L2"),
        (["alpha", "lambda", "max_depth"], "L1 strength"),
        (["alpha", "l1_ratio"], "L2 strength"),
        (["alpha", "batch_size", "depth", "width"], "L2 strength"),
        (["depth", "width", "batch_size"], "number of layers"),
        (["depth", "learning_rate", "iterations"], "depth of a tree"),
        (["alpha"], "L1 strength"),
    ],
)
def test_company_tells_what_a_name_means(names, expected):
    assert ROLES[roles_of(names)[0]] == expected


def test_the_order_of_names_does_not_matter():
    names = ["gamma", "alpha", "eta", "max_depth", "lambda"]
    assert roles_of(names[::-1]) == roles_of(names)[::-1]
