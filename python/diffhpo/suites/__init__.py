# SPDX-License-Identifier: Apache-2.0
"""The benchmarks that a study can run on, by name, behind one interface.

| name | tasks | splits | needs |
|---|---|---|---|
| `embedded` | XGBoost tuning, 10 dimensions, shipped with the package | train, validation, test | xgboost |
| a directory | HPO-B's format | HPO-B's | its surrogates: xgboost |
| `hpob-reduced` | HPO-B, fewer columns, 3 to 9 dimensions | choice, report | `DIFFHPO_DATA`, xgboost |
| `x48` | XGBoost tuning on 48 tables, 6 dimensions | train, validation, test | `DIFFHPO_DATA`, xgboost |
| `grid-mlp`, `grid-fcnet` | complete tables of network trainings | train, test | `DIFFHPO_DATA` |
| `bbob` | 24 functions in 2, 3, 5 and 10 dimensions, and in 4 | test, validation | ioh |
"""

from __future__ import annotations

from diffhpo.suites.open import NAMES, open_suite
from diffhpo.suites.suite import Suite

__all__ = ["NAMES", "Suite", "open_suite"]
