# SPDX-License-Identifier: Apache-2.0
"""One thread of torch and of BLAS inside a suggestion."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
#: How many suggestions are inside, in all threads; what the first of them found, the last one restores.
_inside = 0
_threads = 1
_limits: Any = None
_controller: tuple[int, ThreadpoolController] | None = None


def _blas() -> ThreadpoolController:
    """The BLAS libraries that are loaded; they are looked for again, in milliseconds, after an import."""
    global _controller
    if _controller is None or _controller[0] != len(sys.modules):
        _controller = len(sys.modules), ThreadpoolController()
    return _controller[1]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of BLAS inside: sums are taken in one order, whatever the caller's settings.

    The settings are the process's: where several Python threads are inside at once, the last to leave
    restores them (OpenBLAS keeps one thread where another came first). The matrices are too small to gain
    from more: with two BLAS threads the Gaussian process of 500 trials took twice as long. The reverse loop
    has its own threads.
    """
    global _inside, _threads, _limits
    with _lock:
        if _inside == 0:
            _threads = torch.get_num_threads()
            _limits = _blas().limit(limits=1, user_api="blas")
        torch.set_num_threads(1)  # OpenMP keeps the number for each thread
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limits.restore_original_limits()
                torch.set_num_threads(_threads)
