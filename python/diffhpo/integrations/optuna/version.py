# SPDX-License-Identifier: Apache-2.0
"""Whether an Optuna is installed that the sampler can work with."""

from __future__ import annotations

import re

from diffhpo.errors import DependencyError

#: The oldest release whose samplers have the methods that `DiffusionSampler` overrides.
OLDEST = (4, 0)


def require_optuna() -> None:
    """Raise a DependencyError, with the pip command, unless Optuna 4.0 or newer is installed.

    Example:
        >>> require_optuna()
    """
    remedy = f'pip install "optuna>={OLDEST[0]}.{OLDEST[1]}"'
    try:
        import optuna
    except ImportError as error:
        raise DependencyError(f"optuna is needed for this module and is not installed: {remedy}") from error
    numbers = re.match(r"(\d+)\.(\d+)", optuna.__version__)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST:
        raise DependencyError(
            f"optuna {optuna.__version__} is installed; {OLDEST[0]}.{OLDEST[1]} or newer is needed: {remedy}"
        )
