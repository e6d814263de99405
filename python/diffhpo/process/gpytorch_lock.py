# SPDX-License-Identifier: Apache-2.0
"""One thread at a time in GPyTorch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A child begins with GPyTorch's settings as they are outside, and with a lock that nobody holds.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@contextmanager
def gpytorch_lock() -> Iterator[None]:
    """Keeps other threads out of the functions that use GPyTorch.

    GPyTorch 1.15 keeps its settings, such as `lazily_evaluate_kernels`, on classes; it changes and restores
    them while it computes. Two threads whose changes interleave get results with other last bits, and may
    leave a setting changed for the rest of the process. What a caller's own threads do with GPyTorch
    meanwhile is outside this lock.
    """
    with _lock:
        yield
