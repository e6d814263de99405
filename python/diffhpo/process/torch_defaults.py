# SPDX-License-Identifier: Apache-2.0
"""torch's own default settings inside a call, whatever the caller has set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from diffhpo.process.shared_setting import SharedSetting


def _change() -> Callable[[], None]:
    dtype = torch.get_default_dtype()

    def restore() -> None:
        if dtype != torch.float32:
            torch.set_default_dtype(dtype)

    return restore


def _enter() -> None:
    if torch.get_default_dtype() != torch.float32:
        torch.set_default_dtype(torch.float32)


_float32 = SharedSetting(_change, _enter)


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
def float32() -> Iterator[None]:
    """float32 as the default dtype inside: of a model's weights, for example."""
    with _float32:
        yield
