# SPDX-License-Identifier: Apache-2.0
"""Choices of a parameter: any Python objects, told apart as a user tells them apart."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice
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
    if isinstance(a, (float, np.floating)) and isinstance(b, (float, np.floating)) and a != a and b != b:
        return True
    try:
        return bool(a == b)
    except Exception:  # whatever a foreign type's comparison raises
        return False


def _key(choice: Any) -> Hashable | None:
    """What tells plain choices apart as `same` does; None where only a comparison does."""
    if isinstance(choice, (bool, np.bool_)):
        return (bool, bool(choice))
    if choice is None or type(choice) in (int, str, bytes) or isinstance(choice, (np.integer, np.str_)):
        return (object, choice)
    if type(choice) is float or isinstance(choice, np.floating):
        return (object, "nan", None) if math.isnan(choice) else (object, choice)
    return None


def plain_places(choices: Sequence[Any]) -> dict[Hashable, int]:
    """Where the plain choices stand, such as numbers and text; others are found by comparing."""
    return {key: place for place, choice in enumerate(choices) if (key := _key(choice)) is not None}


def place_of(choices: Sequence[Any], value: Any, places: Mapping[Hashable, int]) -> int:
    """Which choice a value is.

    Args:
        choices: all of them.
        value: what is looked for.
        places: `plain_places` of the choices.

    Raises:
        SpaceError: if it is none of them.
    """
    key = _key(value)
    if key is not None and key in places:
        return places[key]
    for index, choice in enumerate(choices):
        if same(choice, value):
            return index
    shown = repr(list(choices)) if len(choices) <= 100 else f"{len(choices)} choices"
    raise SpaceError(f"{value!r} is not one of {shown}")


def check_choices(described: str, choices: Iterable[Any]) -> tuple[Any, ...]:
    """The choices as a tuple.

    Raises:
        SpaceError: unless they have an order of their own and are two to 10,000, all different.
    """
    if isinstance(choices, (set, frozenset, Mapping)):
        raise SpaceError(
            f"{described}: choices is a {type(choices).__name__}; a list is needed: sets differ in their "
            "order from one process to the next, and of a mapping the keys or the values could be meant"
        )
    try:
        found = tuple(islice(choices, MOST_CHOICES + 1))
    except TypeError:
        raise SpaceError(f"{described}: choices is {choices!r}; a list is needed") from None
    if len(found) > MOST_CHOICES:
        raise SpaceError(
            f"{described} of more than {MOST_CHOICES} choices; at most {MOST_CHOICES} are supported: "
            "use an Int or a Float"
        )
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
