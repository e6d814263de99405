# SPDX-License-Identifier: Apache-2.0
"""An append-only file of finished evaluations, so that a stopped computation goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path


class Journal:
    """One line of JSON for each evaluation: task, coordinates, accuracy, seconds.

    Args:
        path: The file; it is created, and a line cut short by a kill is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done: dict[tuple[str, tuple[float, ...]], float] = {}
        self.seconds = 0.0
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    entry = json.loads(line)
                    self._done[entry["task"], tuple(entry["x"])] = entry["y"]
                    self.seconds += entry["seconds"]
                    whole += len(line)
            os.truncate(path, whole)

    def get(self, task: str, x: Sequence[float]) -> float | None:
        """The accuracy of a finished evaluation, or None."""
        return self._done.get((task, tuple(x)))

    def recall(self, task: str, x: Sequence[float], y: float) -> None:
        """Take an evaluation from elsewhere as finished, without writing it."""
        self._done[task, tuple(x)] = y

    def add(self, task: str, x: Sequence[float], y: float, seconds: float) -> None:
        """Append one finished evaluation and flush it."""
        entry = {"task": task, "x": list(x), "y": y, "seconds": round(seconds, 4)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._done[task, tuple(x)] = y
        self.seconds += seconds
