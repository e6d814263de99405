# SPDX-License-Identifier: Apache-2.0
"""JSON that others wrote: what `json.loads` takes in silence, or fails on by another error, is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

#: Deepest nesting: no file of this package has more than ten levels.
MOST_LEVELS = 100


def parse_json(
    text: str | bytes,
    object_hook: Callable[[dict[str, Any]], Any] | None = None,
    *,
    overflow: bool = False,
) -> Any:
    """The value of a JSON text.

    Args:
        text: in UTF-8, UTF-16 or UTF-32 if it is bytes; a byte order mark is left out.
        object_hook: as in `json.loads`.
        overflow: let a number beyond double precision be infinite; it is read faster so.

    Raises:
        ValueError: if the text is not JSON, names a key twice in one object, has a number beyond double
            precision or of thousands of digits, or is nested more than 100 deep.

    Example:
        >>> parse_json('{"lr": 1, "lr": 2}')
        Traceback (most recent call last):
        ...
        ValueError: the key 'lr' comes twice in one object
        >>> parse_json("[1e400]")
        Traceback (most recent call last):
        ...
        ValueError: the number 1e400 is beyond double precision
    """

    def found(pairs: list[tuple[str, Any]]) -> Any:
        value = dict(pairs)
        if len(value) < len(pairs):
            last = {key: place for place, (key, _) in enumerate(pairs)}
            twice = next(key for place, (key, _) in enumerate(pairs) if last[key] != place)
            raise ValueError(f"the key {twice[:80]!r} comes twice in one object")
        return value if object_hook is None else object_hook(value)

    if isinstance(text, bytes):
        text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        value = json.loads(text, object_pairs_hook=found, parse_float=None if overflow else _finite)
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_LEVELS} deep") from None
    _check_depth(value)
    return value


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"the number {number[:80]} is beyond double precision")
    return value


def _check_depth(value: Any) -> None:
    """Deeper values pass the parser and fail later, in `repr` or a comparison, which recurse too."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        level = [
            part
            for one in level
            if isinstance(one, (dict, list))
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {MOST_LEVELS} deep")
