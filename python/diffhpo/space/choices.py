# SPDX-License-Identifier: Apache-2.0
"""Choices of a parameter: any Python objects, told apart as a user tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffhpo.errors import SpaceError

#: More levels are a number's.
MOST_CHOICES = 10_000
#: Of these, such as lists, every two are compared.
MOST_UNHASHABLE = 100


def same(a: Any, b: Any) -> bool:
    """Whether two choices are one.

    1 and True are equal in Python, and may both be choices; nan is not equal to itself, and is one choice;
    objects that compare to something else than a truth value, such as arrays, are told by identity.

    Example:
        >>> same(1, 1.0), same(1, True), same(float("nan"), float("nan"))
        (True, False, True)
    """
    if a is b:
        return True
    if isinstance(a, (bool, np.bool_)) != isinstance(b, (bool, np.bool_)):
        return False
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True
    try:
        return bool(a == b)
    except Exception:  # whatever a foreign type's comparison raises
        return False


def place_of(choices: Sequence[Any], value: Any) -> int:
    """Which choice a value is.

    Raises:
        SpaceError: if it is none of them.
    """
    for index, choice in enumerate(choices):
        if same(choice, value):
            return index
    raise SpaceError(f"{value!r} is not one of {list(choices)!r}")


def check_choices(described: str, choices: Sequence[Any]) -> tuple[Any, ...]:
    """The choices as a tuple.

    Raises:
        SpaceError: unless there are two or more, all different.
    """
    found = tuple(choices)
    if len(found) > MOST_CHOICES:
        raise SpaceError(f"{described} of {len(found)} choices; at most {MOST_CHOICES} are supported")
    hashes: set[Any] = set()
    unhashable: list[int] = []
    for index, choice in enumerate(found):
        try:
            # A truth value is no number, and nan is one choice.
            key = (isinstance(choice, (bool, np.bool_)), choice == choice, choice if choice == choice else 0)
            twice = key in hashes
            hashes.add(key)
        except Exception:  # not hashable, or compares to something else than a truth value
            twice = any(same(choice, earlier) for earlier in found[:index])
            unhashable.append(index)
        if twice or any(same(choice, found[place]) for place in unhashable if place < index):
            raise SpaceError(f"{described}({list(found)!r}): {choice!r} comes twice")
        if len(unhashable) > MOST_UNHASHABLE:
            raise SpaceError(f"{described}: more than {MOST_UNHASHABLE} choices cannot be hashed; give names")
    if len(found) < 2:
        raise SpaceError(
            f"{described}({list(found)!r}): two or more different choices are needed; one is a Constant"
        )
    return found
