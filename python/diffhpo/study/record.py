# SPDX-License-Identifier: Apache-2.0
"""What a report reads of the record of a finished run, checked before it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diffhpo.errors import DataError

#: Types of a version, or of a fact of a machine.
_FACTS = (str, int, float, type(None))


def check_record(record: Mapping[str, Any], source: object) -> None:
    """Raise unless a record of a journal has all that a report reads of it.

    Args:
        record: a line of the journal.
        source: the run directory, for messages.

    Raises:
        DataError: naming the run and what is wrong with its record.

    Example:
        >>> check_record({"space": "a", "task": "b", "seed": "s", "method": "m", "error": 3}, "runs")
        Traceback (most recent call last):
        ...
        diffhpo.errors.DataError: runs: the record of a/b/s/m is damaged: error is 3
    """

    def require(name: str, sound: bool) -> None:
        if not sound:
            where = "/".join(str(record.get(part))[:80] for part in ("space", "task", "seed", "method"))
            raise DataError(
                f"{source}: the record of {where} is damaged: {name} is {str(record.get(name))[:200]}"
            )

    require("error", "error" in record)
    error = record["error"]
    if error is not None:
        texts = [error.get(name) for name in ("type", "message")] if isinstance(error, dict) else [None]
        require("error", all(isinstance(text, str) for text in texts))
    for name in ("versions", "machine"):
        facts = record.get(name)
        require(name, isinstance(facts, dict) and all(isinstance(value, _FACTS) for value in facts.values()))
    if error is not None:
        return
    for name in ("incumbents", "suggest_seconds"):
        numbers = record.get(name)
        require(name, isinstance(numbers, list) and len(numbers) > 0 and all(map(_is_finite, numbers)))
    require("suggest_seconds", len(record["suggest_seconds"]) == len(record["incumbents"]) - 1)
    require("seconds", _is_finite(record.get("seconds")))
    require("data", isinstance(record.get("data"), str))
    require("warnings", isinstance(record.get("warnings"), (dict, list)))
    require("warnings", all(isinstance(warning, str) for warning in record["warnings"]))


def _is_finite(number: Any) -> bool:
    return type(number) in (int, float) and abs(number) < 1e300 and math.isfinite(number)
