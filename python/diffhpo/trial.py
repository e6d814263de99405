# SPDX-License-Identifier: Apache-2.0
"""What an optimizer asks for and is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffhpo.errors import InputError


@dataclass(frozen=True)
class Suggestion:
    """One configuration to evaluate."""

    id: int
    """Counts from 0 in the order of asking."""
    parameters: dict[str, Any]
    """name -> value, in the space's own units; parameters that are not active are absent."""


@dataclass(frozen=True)
class Trial:
    """A configuration and what is known of it: its value, that it failed, or nothing yet (it is pending).

    Raises:
        InputError: on a value that is nan or not a number, or a failed trial with a value.

    Example:
        >>> Trial({"lr": 0.1}, 0.93).pending, Trial({"lr": 0.2}).pending
        (False, True)
    """

    parameters: Mapping[str, Any]
    value: float | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", checked_value(self.value))
            if self.failed:
                raise InputError(f"value is {self.value!r} and failed is True; a failed trial has no value")

    @property
    def pending(self) -> bool:
        """Whether it is still being evaluated."""
        return self.value is None and not self.failed


def checked_value(value: Any) -> float:
    """An objective's value as a float; infinities are left to the history.

    Raises:
        InputError: if it is nan or not a number.
    """
    try:
        if isinstance(value, str):
            raise TypeError
        number = float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise InputError(f"value is {value!r}; a number is needed, or failed=True") from None
    if math.isnan(number):
        raise InputError("value is nan; tell a failed evaluation with failed=True")
    return number
