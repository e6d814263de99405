# SPDX-License-Identifier: Apache-2.0
"""A setting of the process that all threads share: changed while anyone is inside."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


class SharedSetting:
    """A context that changes a setting of the process: the first to enter does, the last to leave restores.

    Calls are counted over all threads, nested ones too. In a forked child only the thread that forked goes
    on: what the others had entered is left there.

    Args:
        change: changes the setting and returns what restores it; called by the first to enter.
        enter: called at each entrance, after `change`: for what is a thread's own, or may have been undone.

    Example:
        >>> level = [0]
        >>> def change():
        ...     level.append(1)
        ...     return level.pop
        >>> setting = SharedSetting(change, lambda: None)
        >>> with setting, setting:
        ...     level
        [0, 1]
        >>> level
        [0]
    """

    def __init__(self, change: Callable[[], Callable[[], object]], enter: Callable[[], object]) -> None:
        self._change, self._enter = change, enter
        self._restore: Callable[[], object] = lambda: None
        self._lock = threading.Condition()
        #: How many calls are inside: in all threads, and in the thread that reads it.
        self._inside = 0
        self._thread = threading.local()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_other_threads)

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._restore = self._change()
            self._enter()
            self._inside += 1
            self._thread.inside = self._inside_here() + 1

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._inside -= 1
            self._thread.inside -= 1
            if self._inside == 0:
                self._restore()
                self._lock.notify_all()

    def wait_until_left(self, seconds: float) -> None:
        """Return when nobody is inside, after so many seconds at the latest."""
        with self._lock:
            self._lock.wait_for(lambda: self._inside == 0, seconds)

    def _inside_here(self) -> int:
        return getattr(self._thread, "inside", 0)

    def _forget_other_threads(self) -> None:
        """Called in a forked child; another thread may have held the lock when it was made."""
        self._lock = threading.Condition()
        others, self._inside = self._inside - self._inside_here(), self._inside_here()
        if others and self._inside == 0:
            self._restore()
