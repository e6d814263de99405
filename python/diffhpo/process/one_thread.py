# SPDX-License-Identifier: Apache-2.0
"""One thread of torch and of BLAS inside a suggestion."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

from diffhpo.process.torch_defaults import torch_defaults

#: Seconds for which the end of the process waits for the suggestions of daemon threads.
PATIENCE = 30.0

_lock = threading.Condition()
_closing = False
#: How many suggestions are inside, in all threads; what the first of them found, the last one restores.
_inside = 0
_threads = 1
_precision = "highest"
_limits: Any = None
_controller: tuple[int, ThreadpoolController] | None = None


def _blas() -> ThreadpoolController:
    """The BLAS libraries that are loaded; they are looked for again, in milliseconds, after an import."""
    global _controller
    if _controller is None or _controller[0] != len(sys.modules):
        _controller = len(sys.modules), ThreadpoolController()
    return _controller[1]


def _forget_other_threads() -> None:
    """A forked child has one thread, and it is outside; another may have held the lock when it was made."""
    global _lock, _inside
    _lock = threading.Condition()
    if _inside:
        _inside = 0
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


def _close() -> None:
    """Wait for suggestions of daemon threads, and let them begin no other.

    An operator of torch that comes back when the interpreter shuts down ends the process with
    std::terminate, as of torch 2.13.
    """
    global _closing
    with _lock:
        _closing = True
        _lock.wait_for(lambda: _inside == 0, PATIENCE)


atexit.register(_close)


def _restore() -> None:
    _limits.restore_original_limits()
    torch.set_num_threads(_threads)
    if _precision != "highest":
        torch.set_float32_matmul_precision(_precision)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of BLAS inside: sums are taken in one order, whatever the caller's settings.

    Products are those of float32, and torch's other settings its defaults, see `torch_defaults`.

    The settings are the process's: where several Python threads are inside at once, the last to leave
    restores them (OpenBLAS keeps one thread where another came first). The matrices are too small to gain
    from more: with two BLAS threads the Gaussian process of 500 trials took twice as long. The reverse loop
    has its own threads.
    """
    global _inside, _threads, _precision, _limits
    if _closing and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()  # a daemon thread ends here, with the process
    with _lock:
        if _inside == 0:
            _threads = torch.get_num_threads()
            _precision = torch.get_float32_matmul_precision()
            if _precision != "highest":
                torch.set_float32_matmul_precision("highest")
            _limits = _blas().limit(limits=1, user_api="blas")
        torch.set_num_threads(1)  # OpenMP keeps the number for each thread
        _inside += 1
    try:
        with torch_defaults():
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore()
                _lock.notify_all()
