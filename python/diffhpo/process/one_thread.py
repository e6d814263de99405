# SPDX-License-Identifier: Apache-2.0
"""One thread of torch and of BLAS inside a suggestion."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import ThreadpoolController

from diffhpo.process.shared_setting import SharedSetting
from diffhpo.process.torch_defaults import torch_defaults

#: Seconds for which the end of the process waits for the suggestions of daemon threads.
PATIENCE = 30.0

_closing = False
_controller: tuple[int, ThreadpoolController] | None = None


def _blas() -> ThreadpoolController:
    """The BLAS libraries that are loaded; they are looked for again, in milliseconds, after an import."""
    global _controller
    if _controller is None or _controller[0] != len(sys.modules):
        _controller = len(sys.modules), ThreadpoolController()
    return _controller[1]


def _take_over(controller: ThreadpoolController) -> None:
    """Let this thread set OpenBLAS's number of threads.

    From threadpoolctl 3.7 on, the first thread that has set it is the only one that can, until it ends or is
    released; what others ask for is silently left undone. `SharedSetting` sees to it that nobody is inside.
    """
    for library in controller.lib_controllers:
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)


def _change() -> Callable[[], None]:
    threads = torch.get_num_threads()
    controller = _blas()
    _take_over(controller)
    limits = controller.limit(limits=1, user_api="blas")

    def restore() -> None:
        _take_over(controller)
        limits.restore_original_limits()
        _take_over(controller)
        torch.set_num_threads(threads)

    return restore


#: OpenMP keeps its number for each thread.
_setting = SharedSetting(_change, lambda: torch.set_num_threads(1))


def _close() -> None:
    """Wait for suggestions of daemon threads, and let them begin no other.

    An operator of torch that comes back when the interpreter shuts down ends the process with
    std::terminate, as of torch 2.13.
    """
    global _closing
    _closing = True
    _setting.wait_until_left(PATIENCE)


atexit.register(_close)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of BLAS inside: sums are taken in one order, whatever the caller's settings.

    torch's other settings are its defaults, see `torch_defaults`.

    The settings are the process's: where several Python threads are inside at once, the last to leave
    restores them. The matrices are too small to gain from more: with two BLAS threads the Gaussian process of
    500 trials took twice as long. The reverse loop has its own threads.
    """
    if _closing and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()  # a daemon thread ends here, with the process
    with _setting, torch_defaults():
        yield
