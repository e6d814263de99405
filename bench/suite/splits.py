# SPDX-License-Identifier: Apache-2.0
"""The one place that says which table is in which split.  Fixed before any method was run on the suite.

Rules: no table in two splits; tables of one origin stay together (breast-w and wdbc: both breast cancer of
Wisconsin; mfeat-morphological and digits: handwritten digits); a table enters only if the best of 40 random
configurations beats the majority class by at least 0.02 and at most 10% of them tie for the best.  That
leaves out climate-model-simulation-crashes, haberman, ilpd, kc1, pc1 and pc3 (nothing to learn) and
cardiotocography (columns that give the class away).  The order is the order of computation.
"""

from __future__ import annotations

SPLITS: dict[str, tuple[str, ...]] = {
    "test": (
        "phoneme",
        "kr-vs-kp",
        "credit-g",
        "tic-tac-toe",
        "qsar-biodeg",
        "ionosphere",
        "vehicle",
        "yeast",
    ),
    "validation": ("diabetes", "cmc", "sonar", "segment"),
    "train": (
        "blood-transfusion-service-center",
        "breast-w",
        "sick",
        "wdbc",
        "steel-plates-fault",
        "heart-statlog",
        "vote",
        "credit-approval",
        "kc2",
        "liver-disorders",
        "iris",
        "wine",
        "page-blocks",
        "glass",
        "mfeat-morphological",
        "digits",
    ),
}
