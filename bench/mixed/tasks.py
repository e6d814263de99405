# SPDX-License-Identifier: Apache-2.0
"""Which space is searched on which table, fixed before any method was run.

No table here may train the pretrained model (`diffhpo.pretraining.split`); those of "report" are not those
on which settings were chosen, "choose".
"""

from __future__ import annotations

TASKS: dict[str, tuple[tuple[str, str], ...]] = {
    "report": (
        ("svm", "tic-tac-toe"),
        ("svm", "phoneme"),
        ("classifier", "credit-g"),
        ("classifier", "qsar-biodeg"),
        ("xgboost", "kr-vs-kp"),
        ("xgboost", "phoneme"),
        ("mlp", "vehicle"),
        ("mlp", "tic-tac-toe"),
        ("neighbors", "ionosphere"),
        ("neighbors", "vehicle"),
        ("linear", "ilpd"),
        ("linear", "qsar-biodeg"),
        ("forest", "credit-g"),
        ("forest", "kr-vs-kp"),
    ),
    "choose": (
        ("svm", "cmc"),
        ("svm", "sonar"),
        ("classifier", "diabetes"),
        ("classifier", "cmc"),
        ("xgboost", "cmc"),
        ("xgboost", "sonar"),
        ("mlp", "sonar"),
        ("mlp", "diabetes"),
        ("neighbors", "sonar"),
        ("neighbors", "diabetes"),
        ("linear", "cmc"),
        ("linear", "diabetes"),
        ("forest", "diabetes"),
        ("forest", "sonar"),
    ),
}
