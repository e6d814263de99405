# SPDX-License-Identifier: Apache-2.0
"""What an optimizer asks for and is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffhpo.errors import InputError
from diffhpo.space import Parameter


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
        InputError: on parameters that are no dictionary, a value that is nan or not a number, a `failed` that
            is not True or False, or a failed trial with a value.

    Example:
        >>> Trial({"lr": 0.1}, 0.93).pending, Trial({"lr": 0.2}).pending
        (False, True)
    """

    parameters: Mapping[str, Any]
    value: float | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, Mapping):
            raise InputError(f"parameters is {self.parameters!r}; a dictionary name -> value is needed")
        object.__setattr__(self, "failed", checked_failed(self.failed))
        if self.value is not None:
            object.__setattr__(self, "value", checked_value(self.value))
            if self.failed:
                raise InputError(f"value is {self.value!r} and failed is True; a failed trial has no value")

    @property
    def pending(self) -> bool:
        """Whether it is still being evaluated."""
        return self.value is None and not self.failed


def check_as_asked(
    suggestion: Suggestion, asked: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> None:
    """Check that a Suggestion that is told has the numbers and choices that were asked for under its id.

    Entries that are gone, new, or no value of their parameter are the caller's own preparation.

    Raises:
        InputError: where a value was changed, or the Suggestion is of another optimizer.
    """
    given = suggestion.parameters
    if not isinstance(given, Mapping):
        raise InputError(f"the suggestion's parameters are {given!r}; the dictionary of `ask` is needed")
    if given and not any(name in asked for name in given):
        raise InputError(
            f"trial {suggestion.id} was asked for with {list(asked)} and the suggestion has {list(given)}: "
            "it is of another optimizer"
        )
    for name, value in asked.items():
        if name in given and parameters[name].differ(value, given[name]):
            raise InputError(
                f"trial {suggestion.id} was asked for with {name} = {value!r} and the suggestion has "
                f"{given[name]!r}: it was changed, or is of another optimizer; tell the configuration that "
                "was evaluated as a dictionary, or the id alone if it is what was asked for"
            )


def one_number(value: Any) -> float:
    """A number of any type, or the one in an array or tensor of size one, as a float; nan is one.

    Raises:
        TypeError: on anything else: text, truth values, times, complex numbers, masked ones, more than one.

    Example:
        >>> one_number(np.float32(0.5)), one_number([[2]])
        (0.5, 2.0)
    """
    if np.ma.is_masked(value):  # what stands behind the mask is not meant
        raise TypeError
    try:
        if isinstance(value, (list, tuple)):
            value = np.asarray(value)
        if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M", "V"):  # times, raw bytes
            raise TypeError
        if hasattr(value, "item"):  # of a tensor too that is part of a graph, or on another device
            value = value.item()
        if isinstance(value, (bool, np.bool_, str, bytes, bytearray)):
            raise TypeError
        return float(value)
    except Exception as error:  # whatever a foreign type's conversion raises, or 10**400
        raise TypeError from error


def checked_value(value: Any) -> float:
    """An objective's value as a float; infinities are left to the history.

    Raises:
        InputError: if it is nan or not a number.
    """
    try:
        number = one_number(value)
    except TypeError:
        raise InputError(f"value is {value!r}; a number is needed, or failed=True") from None
    if math.isnan(number):
        raise InputError("value is nan; tell a failed evaluation with failed=True")
    return number


def checked_failed(failed: Any) -> bool:
    """Whether an evaluation failed.

    Raises:
        InputError: unless it is True or False; the text "no" would count as true.
    """
    if not isinstance(failed, (bool, np.bool_)):
        raise InputError(f"failed is {failed!r}; True or False is needed")
    return bool(failed)
