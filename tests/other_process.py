# SPDX-License-Identifier: Apache-2.0
"""Another Python process, that a test starts, waits for and kills."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def started(*arguments: str, says: str, **more: Any) -> subprocess.Popen[str]:
    """Python with these arguments, when it has printed the line `says`.

    `more` goes to Popen; whoever starts it kills it and closes its pipes.
    """
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, **more)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{says}\n"
    return process


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Fail after so many seconds without it: a limit against hanging, not a measure of time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.001)


def kills(least: int) -> int:
    """How often a run is killed before it may end: `least`, or as the environment says."""
    return int(os.environ.get("DIFFHPO_KILLS", least))
