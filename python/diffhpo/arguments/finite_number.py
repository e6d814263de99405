# SPDX-License-Identifier: Apache-2.0
"""The check of arguments that measure something."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from diffhpo.errors import InputError


def finite_number(value: Any, argument: str, *, least: float = -math.inf) -> float:
    """The value as a float; truth values and text are no numbers.

    Raises:
        InputError: unless it is a finite number of at least `least`.

    Example:
        >>> finite_number(np.float32(0.5), "jitter", least=0)
        0.5
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not (least <= value < math.inf) or value == -math.inf:
        accepted = "" if least == -math.inf else f" of {least:g} or more"
        raise InputError(f"{argument} is {value!r}; a finite number{accepted} is needed")
    return float(value)
