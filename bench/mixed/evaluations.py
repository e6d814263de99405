# SPDX-License-Identifier: Apache-2.0
"""Finished evaluations on disk, by task and configuration: what one method paid for, the others read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffhpo.study.journal import encode_line, read_journal


def plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with Python's own numbers and strings in place of NumPy's, sorted by name.

    Example:
        >>> plain({"p": np.float64(2.0), "metric": np.str_("cosine")})
        {'metric': 'cosine', 'p': 2.0}
    """
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in sorted(configuration.items())
    }


class Evaluations:
    """An append-only file of evaluations; a line cut short by a kill is dropped.

    Args:
        path: the file; it is made where it is not there.

    Attributes:
        computed: how many evaluations this object computed rather than found.
        seconds: how long those took.
    """

    def __init__(self, path: Path) -> None:
        records, size = read_journal(path, sound=lambda record: set(record) == {"task", "key", "value"})
        self._path, self.computed, self.seconds = path, 0, 0.0
        self._known: dict[tuple[str, str], float] = {(r["task"], r["key"]): r["value"] for r in records}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(size)

    def value(self, task: str, configuration: Mapping[str, Any], compute: Callable[..., float]) -> float:
        """The value of a configuration, as `plain` gives it, on a task; computed and kept where not known."""
        key = json.dumps(configuration, sort_keys=True)
        known = self._known.get((task, key))
        if known is None:
            start = time.perf_counter()
            known = self._known[task, key] = compute(configuration)
            self.seconds += time.perf_counter() - start
            self.computed += 1
            with self._path.open("ab") as file:
                file.write(encode_line({"task": task, "key": key, "value": known}))
        return known
