# SPDX-License-Identifier: Apache-2.0
"""One task: XGBoost on one table, with boosting rounds as the budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.suite.splits import SPLITS
from bench.suite.tables import load_table

if TYPE_CHECKING:
    import optuna

#: Tables that nothing of the pretrained model was trained or chosen on.
TABLES = SPLITS["test"]
#: Rounds after which a trial reports: powers of 3, the rungs of successive halving.
RUNGS = (3, 9, 27, 81)
MAX_ROUNDS = RUNGS[-1]
MAX_ROWS = 1500
MAX_BIN = 64
SEED = 0


class Task:
    """Log-loss of XGBoost on the held-out third of a table, at every rung of a configuration.

    Args:
        name: one of TABLES.
        directory: folder of the OpenML tables as CSV, with MANIFEST.json.
    """

    def __init__(self, name: str, directory: Path) -> None:
        import xgboost
        from sklearn.model_selection import train_test_split

        table = load_table(name, directory)
        x, y = table.x, table.y
        if len(y) > MAX_ROWS:
            x, _, y, _ = train_test_split(x, y, train_size=MAX_ROWS, stratify=y, random_state=SEED)
        parts = train_test_split(x, y, train_size=2 / 3, stratify=y, random_state=SEED)
        self._train = xgboost.QuantileDMatrix(parts[0], label=parts[2], nthread=1, max_bin=MAX_BIN)
        self._valid = xgboost.DMatrix(parts[1], label=parts[3], nthread=1)
        self._fixed: dict[str, Any] = {
            "tree_method": "hist",
            "max_bin": MAX_BIN,
            "nthread": 1,
            "seed": SEED,
            "verbosity": 0,
        }
        if table.n_classes == 2:
            self._fixed |= {"objective": "binary:logistic", "eval_metric": "logloss"}
        else:
            self._fixed |= {
                "objective": "multi:softprob",
                "eval_metric": "mlogloss",
                "num_class": table.n_classes,
            }

    def curve(self, configuration: dict[str, Any]) -> Iterator[tuple[int, float]]:
        """(rounds, held-out log-loss) at each rung; no more rounds are trained than are asked for."""
        import xgboost

        booster = xgboost.Booster({**self._fixed, **configuration}, [self._train, self._valid])
        done = 0
        for rung in RUNGS:
            for iteration in range(done, rung):
                booster.update(self._train, iteration)
            done = rung
            yield rung, float(booster.eval(self._valid).split(":")[-1])


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The search space: eight parameters under XGBoost's own names."""
    return {
        "eta": trial.suggest_float("eta", 2.0**-9, 1.0, log=True),
        "max_depth": trial.suggest_int("max_depth", 1, 12),
        "min_child_weight": trial.suggest_float("min_child_weight", 2.0**-4, 2.0**5, log=True),
        "subsample": trial.suggest_float("subsample", 0.1, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.1, 1.0),
        "lambda": trial.suggest_float("lambda", 2.0**-10, 2.0**8, log=True),
        "alpha": trial.suggest_float("alpha", 2.0**-10, 2.0**4, log=True),
        "gamma": trial.suggest_float("gamma", 2.0**-10, 2.0**4, log=True),
    }
