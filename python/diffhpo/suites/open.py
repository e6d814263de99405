# SPDX-License-Identifier: Apache-2.0
"""Opening a suite by its name."""

from __future__ import annotations

from pathlib import Path

from diffhpo.errors import InputError
from diffhpo.suites.suite import Suite

#: Names beside paths of directories.
NAMES = ("embedded", "hpob-reduced", "hpob-pools", "x48", "grid-mlp", "grid-fcnet", "bbob")


def open_suite(name: str, split: str = "test") -> Suite:
    """A suite's split, ready to give tasks.

    Args:
        name: one of `NAMES`, or the path of a directory in HPO-B's format.
        split: part of the suite; `hpob-reduced` and `hpob-pools` have "choice" and "report".

    Raises:
        InputError: on an unknown split.
        DataError: if a directory or file is missing or damaged.
        DependencyError: if the suite needs a package that is not installed.

    Example:
        >>> open_suite("embedded").spaces()
        ['xgboost']
    """
    # Imported on demand: the embedded suite needs none of the others' packages.
    if name == "embedded":
        from diffhpo.hpob import suite

        return suite.benchmark(split)
    if name == "hpob-reduced":
        from diffhpo.suites.hpob_reduced import hpob_reduced_suite

        return hpob_reduced_suite(split)
    if name == "hpob-pools":
        from diffhpo.suites.hpob_pools import hpob_pools_suite

        return hpob_pools_suite(split)
    if name == "x48":
        from diffhpo.suites.x48 import x48_suite

        return x48_suite(split)
    if name in ("grid-mlp", "grid-fcnet"):
        from diffhpo.suites.grids import grid_suite

        return grid_suite(name, split)
    if name == "bbob":
        from diffhpo.suites.bbob import bbob_suite

        return bbob_suite(split)
    if not Path(name).expanduser().is_dir() and not any(c in name for c in "/\\."):
        raise InputError(
            f"suite is {name!r}; accepted: {', '.join(NAMES)}, or the path of a directory in HPO-B's format"
        )
    from diffhpo.hpob.data import Benchmark

    return Benchmark(name, split=split)
