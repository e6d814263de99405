# SPDX-License-Identifier: Apache-2.0
"""The check of arguments that measure something."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from diffhpo.errors import InputError


def finite_number(
    value: Any,
    argument: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
) -> float:
    """The value as a float; truth values and text are no numbers.

    Args:
        value: what came.
        argument: its name, for the message.
        least: the smallest that is accepted.
        most: the largest that is accepted.
        above: what it must exceed.

    Raises:
        InputError: unless it is a finite number in that range.

    Example:
        >>> finite_number(np.float32(0.5), "jitter", least=0)
        0.5
    """
    number = math.nan
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # an int beyond double precision
            number = float(value)
    if not math.isfinite(number) or not (least <= number <= most and number > above):
        raise InputError(f"{argument} is {value!r}; a finite number{_range(least, most, above)} is needed")
    return number


def _range(least: float, most: float, above: float) -> str:
    if above > least:
        return f" above {above:g}"
    if most < math.inf:
        return f" from {least:g} to {most:g}"
    return "" if least == -math.inf else f" of {least:g} or more"
