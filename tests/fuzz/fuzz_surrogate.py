# SPDX-License-Identifier: Apache-2.0
"""XGBoost models in JSON; xgboost itself trusts what it reads."""

import numpy as np
import xgboost

from diffhpo.hpob.surrogate import Surrogate

X = np.random.default_rng(0).random((40, 2))


def seeds():
    for depth in (1, 2):
        settings = {"max_depth": depth, "tree_method": "exact", "nthread": 1, "objective": "reg:squarederror"}
        booster = xgboost.train(settings, xgboost.DMatrix(X, label=X[:, 0] - X[:, 1] ** 2), depth)
        yield bytes(booster.save_raw("json"))


def one_input(data, folder):
    path = folder / "model.json"
    path.write_bytes(data)
    assert np.isfinite(Surrogate(path, 2)(X)).all()
