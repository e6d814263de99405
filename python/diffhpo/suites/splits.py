# SPDX-License-Identifier: Apache-2.0
"""Which part of each benchmark chooses settings and which is reported, written down before any training."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from diffhpo.errors import InputError

#: Spaces of `hpob-reduced`. No part of it ever trains: its files state no licence, and it must stay unseen.
HPOB_REDUCED = {
    "choice": ("5527", "5636", "5859", "5860", "5889", "6766"),
    "report": ("5891", "5906", "5970", "6794", "7609"),
}

#: Residues modulo 8 of the numbers of the 48 XGBoost tables: 30, 6 and 12 tables.
X48 = {"train": (0, 1, 3, 4, 6), "validation": (2,), "test": (5, 7)}

#: Of a grid's datasets in alphabetical order, train has the even positions and test the odd ones.
GRIDS = {"train": 0, "test": 1}


def x48_tables(split: str) -> list[int]:
    """Numbers of the XGBoost tables of a split.

    Raises:
        InputError: on an unknown split.

    Example:
        >>> x48_tables("validation")
        [2, 10, 18, 26, 34, 42]
    """
    check_split("x48", split, X48)
    return [table for table in range(48) if table % 8 in X48[split]]


def grid_datasets(names: Sequence[str], split: str) -> list[str]:
    """The datasets of a tabular grid's split.

    Raises:
        InputError: on an unknown split.

    Example:
        >>> grid_datasets(["slice", "naval", "protein", "parkinsons"], "test")
        ['parkinsons', 'slice']
    """
    check_split("a grid", split, GRIDS)
    return sorted(names)[GRIDS[split] :: 2]


def check_split(suite: str, split: str, accepted: Collection[str]) -> None:
    """Refuses an unknown split.

    Raises:
        InputError: saying what is accepted.
    """
    if split not in accepted:
        raise InputError(f"split of {suite} is {split!r}; accepted: {', '.join(accepted)}")
