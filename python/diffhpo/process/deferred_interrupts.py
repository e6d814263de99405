# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C that is delivered at one place of a loop instead of wherever it arrives.

A KeyboardInterrupt inside `concurrent.futures` or `threading`, between taking a lock and the statement that
gives it back, leaves the lock taken for ever, and the thread that needs it hangs the interpreter; one inside
a weak reference's callback is printed and lost.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def deferred_interrupts(tell: Callable[[], object] = lambda: None) -> Iterator[Callable[[], None]]:
    """Has `tell` called on Ctrl-C, in place of the handler that was set; gives what calls that handler.

    The handler is called on leaving if a Ctrl-C was told and not delivered. Nothing changes where Python
    delivers no KeyboardInterrupt: in other threads than the main one, and under a handler that is not
    Python's (Ctrl-C ignored, or ending the process).

    Args:
        tell: called in the main thread between any two of its instructions, so it takes no lock:
            `queue.SimpleQueue.put` is made for that. Without it a Ctrl-C waits until the end.

    Example:
        >>> import queue, signal
        >>> events = queue.SimpleQueue()
        >>> with deferred_interrupts(lambda: events.put("Ctrl-C")) as deliver:
        ...     signal.raise_signal(signal.SIGINT)
        ...     print(events.get())
        ...     try:
        ...         deliver()
        ...     except KeyboardInterrupt:
        ...         print("delivered")
        Ctrl-C
        delivered
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield lambda: None
        return
    told: list[int] = []

    def hold(number: int, _: object) -> None:
        told.append(number)
        tell()

    def deliver() -> None:
        told.clear()
        signal.signal(signal.SIGINT, handler)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, hold)  # until what the first one ended has been cleared up

    signal.signal(signal.SIGINT, hold)
    try:
        yield deliver
    finally:
        signal.signal(signal.SIGINT, handler)
        if told:
            signal.raise_signal(signal.SIGINT)
