# SPDX-License-Identifier: Apache-2.0
"""torch's own default settings inside a call, whatever the caller has set."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_lock = threading.Lock()
#: How many calls are inside, in all threads. The dtype is the process's: the last to leave restores it.
_inside = 0
_dtype = torch.float32


@contextmanager
def torch_defaults() -> Iterator[None]:
    """float32, the CPU, gradients, no autocast and no inference mode inside.

    A caller may work with another default dtype or device (BoTorch's users set float64), in
    `torch.inference_mode()` or under autocast; models and suggestions are what they are without.

    Example:
        >>> with torch.inference_mode(), torch_defaults():
        ...     torch.ones(1).requires_grad_().is_inference()
        False
    """
    with ExitStack() as stack:
        stack.enter_context(float32())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def undisturbed_generator() -> Iterator[None]:
    """`torch_defaults`, and torch's global generator as it was: for weights that are drawn and replaced."""
    with torch_defaults(), torch.random.fork_rng(devices=[]):
        yield


@contextmanager
def float32() -> Iterator[None]:
    """float32 as the default dtype inside: of a model's weights, for example."""
    global _inside, _dtype
    with _lock:
        if _inside == 0:
            _dtype = torch.get_default_dtype()
        if torch.get_default_dtype() != torch.float32:
            torch.set_default_dtype(torch.float32)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _dtype != torch.float32:
                torch.set_default_dtype(_dtype)


def _forget_other_threads() -> None:
    """A forked child has one thread, and it is outside."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside:
        _inside = 0
        torch.set_default_dtype(_dtype)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
