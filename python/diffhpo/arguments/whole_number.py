# SPDX-License-Identifier: Apache-2.0
"""The check of arguments that count something."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from diffhpo.errors import InputError

#: Widths, layers and dimensions of one model; with more the memory would run out.
MOST_SIZE = 1 << 16


def whole_number(value: Any, argument: str, *, least: int = 0, most: int | None = None) -> int:
    """The value as an int; truth values, text and floats are no counts.

    Args:
        value: what came.
        argument: its name, for the message.
        least: the smallest that is accepted.
        most: the largest that is accepted, if there is one.

    Raises:
        InputError: unless it is a whole number in that range.

    Example:
        >>> import numpy as np
        >>> whole_number(np.int8(3), "n")
        3
    """
    counts = isinstance(value, Integral) and not isinstance(value, bool)
    if not counts or value < least or (most is not None and value > most):
        accepted = f"of {least} or more" if most is None else f"from {least} to {most:,}"
        raise InputError(f"{argument} is {value!r}; a whole number {accepted} is needed")
    return int(value)
