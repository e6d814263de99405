# SPDX-License-Identifier: Apache-2.0
"""Which real data may train, written down before any training.

Nothing that a test or validation task uses may train: neither the task, nor the classification table under
it, nor another copy of that table. Test tasks are those of HPO-B (all of its search spaces), of the embedded
suite's test and validation parts, of the XGBoost tables' and of the tabular grids' test parts.
"""

from __future__ import annotations

from pathlib import Path

from diffhpo.errors import DataError
from diffhpo.suites.splits import X48, grid_datasets

#: Classification tables (OpenML's names, or scikit-learn's) that no test or validation task uses.
TRAIN_TABLES = (
    "sick",
    "heart-statlog",
    "vote",
    "credit-approval",
    "liver-disorders",
    "page-blocks",
    "glass",
    "mfeat-morphological",
    "iris",
    "wine",
    "digits",
)
#: Tables that HPO-B's test tasks or the test and validation parts below use, or that share their origin.
#: Spellings without "-" and "_" are compared, so "credit_g" is found too.
HELD_OUT_TABLES = (
    "blood-transfusion",
    "blood-transfusion-service-center",
    "wdbc",
    "breast-w",
    "steel-plates-fault",
    "kc1",
    "kc2",
    "pc1",
    "pc3",
    "cmc",
    "diabetes",
    "credit-g",
    "kr-vs-kp",
    "tic-tac-toe",
    "ilpd",
    "phoneme",
    "climate-model-simulation-crashes",
    "haberman",
    "cardiotocography",
    "qsar-biodeg",
    "ionosphere",
    "vehicle",
    "yeast",
    "sonar",
    "segment",
)
#: Path component that marks the HPO-B subset which serves choosing and reporting only.
NEVER_TRAINING = "hpob-reduced"


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def may_train(table: str) -> bool:
    """Whether a classification table is on the list of those that may train.

    Args:
        table: Its name, in any spelling of case, "-" and "_".

    Example:
        >>> may_train("heart_statlog"), may_train("credit-g"), may_train("unheard-of")
        (True, False, False)
    """
    return _plain(table) in {_plain(name) for name in TRAIN_TABLES}


def is_held_out(table: str) -> bool:
    """Whether a classification table is known to be under a test or validation task.

    Example:
        >>> is_held_out("credit_g"), is_held_out("car")
        (True, False)
    """
    return _plain(table) in {_plain(name) for name in HELD_OUT_TABLES}


def xgboost_part(index: int) -> str:
    """Part of dataset `d{index}` of the 48 XGBoost tables: "train", "validation" or "test".

    Args:
        index: 0 to 47.

    Example:
        >>> [xgboost_part(i) for i in (0, 2, 5, 8)]
        ['train', 'validation', 'test', 'train']
    """
    return next(part for part, residues in X48.items() if index % 8 in residues)


def grid_train_datasets(names: list[str]) -> list[str]:
    """Datasets of a tabular grid that may train: even positions of the sorted names, none held out.

    Args:
        names: All datasets of the grid.

    Example:
        >>> grid_train_datasets(["vehicle", "car", "phoneme", "australian", "kc1"])
        ['australian']
    """
    return [name for name in grid_datasets(names, "train") if not is_held_out(name)]


def refuse_held_out(path: str | Path) -> Path:
    """The path, unless it leads into data that must never train.

    Args:
        path: File or directory that is about to be read for training.

    Raises:
        DataError: a component of the path, or of what it links to, is `hpob-reduced`.

    Example:
        >>> refuse_held_out("data/hpob-reduced/hpob-data")
        Traceback (most recent call last):
        ...
        diffhpo.errors.DataError: data/hpob-reduced/hpob-data is held out; it must not be read for training
    """
    given = Path(path).expanduser()
    if NEVER_TRAINING in given.parts or NEVER_TRAINING in given.resolve().parts:
        raise DataError(f"{path} is held out; it must not be read for training")
    return given
