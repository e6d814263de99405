# SPDX-License-Identifier: Apache-2.0
"""How many processes of their own core there is room for."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover  (not Linux)
