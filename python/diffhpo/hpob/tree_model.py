# SPDX-License-Identifier: Apache-2.0
"""What a surrogate's JSON must hold before XGBoost reads it.

XGBoost trusts its own files: a child or a feature that is not there is an address outside its memory. Source
of the layout: xgboost.readthedocs.io/en/stable/tutorials/saving_model.html, and its `model.schema`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Lists of a tree with an entry for each node: name -> whether the entries are whole numbers.
_LISTS = {
    "left_children": True,
    "right_children": True,
    "parents": True,
    "split_indices": True,
    "split_type": True,
    "default_left": True,
    "split_conditions": False,
    "base_weights": False,
    "loss_changes": False,
    "sum_hessian": False,
}
#: Lists of categorical splits, which have none here.
_EMPTY = ("categories", "categories_nodes", "categories_segments", "categories_sizes")


def check_trees(model: Any) -> int:
    """How many features a sum of regression trees has, all of whose nodes and features are there.

    Args:
        model: the parsed JSON.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: if it is anything else; the message says what.

    Example:
        >>> check_trees({"learner": {"gradient_booster": {"name": "gblinear"}}})
        Traceback (most recent call last):
        ...
        ValueError: its booster is 'gblinear', not gbtree
    """
    learner = model["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ValueError(f"its booster is {str(booster['name'])[:80]!r}, not gbtree")
    stated = learner["learner_model_param"]
    features = int(stated["num_feature"])
    for name, most in (("num_class", 0), ("num_target", 1)):
        if not 0 <= int(stated.get(name, 0)) <= most:
            raise ValueError(f"its {name} is {stated[name]}; one number a configuration is needed")
    forest = booster["model"]
    trees = forest["trees"]
    if not isinstance(trees, list) or int(forest["gbtree_model_param"]["num_trees"]) != len(trees):
        raise ValueError("it has another number of trees than it says")
    if [int(group) for group in forest["tree_info"]] != [0] * len(trees):
        raise ValueError("its trees belong to several groups")
    if "iteration_indptr" in forest and forest["iteration_indptr"] != list(range(len(trees) + 1)):
        raise ValueError("its rounds have other than one tree")
    for number, tree in enumerate(trees):
        try:
            _check_tree(tree, features)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"tree {number}: {type(error).__name__}: {error}") from None
    return features


def _check_tree(tree: dict[str, Any], features: int) -> None:
    stated = tree["tree_param"]
    nodes = int(stated["num_nodes"])
    if nodes < 1 or int(stated["num_feature"]) != features or int(stated.get("size_leaf_vector", 1)) > 1:
        raise ValueError(f"its sizes are {str(stated)[:200]}")
    # XGBoost before 1.2 had no categorical splits, and no split_type.
    given = {"split_type": [0] * nodes, **tree} if nodes <= len(tree["parents"]) else tree
    columns = {name: _numbers(given[name], name, nodes, whole=whole) for name, whole in _LISTS.items()}
    for name in _EMPTY:
        if tree.get(name, []) != []:
            raise ValueError(f"{name} is not empty")
    left, right = columns["left_children"], columns["right_children"]
    inner = left != -1
    children = np.concatenate([left[inner], right[inner]])
    if ((right != -1) != inner).any() or ((children < 1) | (children >= nodes)).any():
        raise ValueError("a node has a child that is not there")
    # With one parent each and none for the root, no walk from the root comes back.
    if len(np.unique(children)) != len(children):
        raise ValueError("a node is the child of two")
    index = columns["split_indices"][inner]
    if ((index < 0) | (index >= features)).any():
        raise ValueError("a split is on a feature that is not there")
    if columns["split_type"].any() or not np.isin(columns["default_left"], (0, 1)).all():
        raise ValueError("a split is categorical, or has no default")
    if not np.isfinite(columns["split_conditions"]).all():
        raise ValueError("a threshold or a leaf is not finite")


def _numbers(values: Any, name: str, nodes: int, *, whole: bool) -> NDArray[Any]:
    array = np.array(values)
    if array.shape != (nodes,) or array.dtype.kind not in ("biu" if whole else "biuf"):
        raise ValueError(f"{name} has shape {array.shape} of {array.dtype}; {nodes} numbers are needed")
    return array
