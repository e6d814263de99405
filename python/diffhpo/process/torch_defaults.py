# SPDX-License-Identifier: Apache-2.0
"""torch's own default settings inside a call, whatever the caller has set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from diffhpo.process.shared_setting import SharedSetting

#: What makes tensors of the default dtype, whatever it is given.
_OF_SHAPES = frozenset(
    {
        torch.empty,
        torch.zeros,
        torch.ones,
        torch.rand,
        torch.randn,
        torch.eye,
        torch.linspace,
        torch.logspace,
    }
)
#: What makes tensors of the default dtype where it is given floats, those of NumPy too.
_OF_NUMBERS = frozenset({torch.full, torch.arange, torch.scalar_tensor})
#: What does so for floats that have no dtype themselves.
_OF_VALUES = frozenset({torch.tensor, torch.as_tensor, torch.asarray})


class _Float32(TorchFunctionMode):
    """Makes tensors of float32 where no dtype is given, in this thread alone.

    `torch.set_default_dtype` would be the process's. What comes of whole numbers is not seen here: a quotient
    of such tensors has the process's default dtype still.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if given.get("dtype") is not None or given.get("out") is not None:
            return func(*args, **given)
        if func in _OF_SHAPES:
            return func(*args, **{**given, "dtype": torch.float32})
        made = func(*args, **given)
        by_default = func in _OF_NUMBERS or (func in _OF_VALUES and not _typed(args, given))
        if by_default and made.dtype == torch.get_default_dtype():
            return func(*args, **{**given, "dtype": torch.float32})
        return made


def _typed(*values: Any) -> bool:
    """Whether a tensor, or a number or an array of NumPy, is among the values: they have a dtype."""
    return any(
        _typed(*value)
        if isinstance(value, (list, tuple))
        else _typed(*value.values())
        if isinstance(value, dict)
        else hasattr(value, "dtype")
        for value in values
    )


_inside = threading.local()


@contextmanager
def float32() -> Iterator[None]:
    """float32 as the default dtype inside, in this thread: of a model's weights, for example.

    Other threads keep the default that the caller has set.

    Example:
        >>> torch.set_default_dtype(torch.float64)
        >>> with float32():
        ...     made = torch.zeros(1).dtype, torch.get_default_dtype()
        >>> torch.set_default_dtype(torch.float32)
        >>> made
        (torch.float32, torch.float64)
    """
    if torch.get_default_dtype() == torch.float32 or getattr(_inside, "float32", False):
        yield
        return
    _inside.float32 = True
    try:
        with _Float32():
            yield
    finally:
        _inside.float32 = False


def _exact_products() -> Callable[[], None]:
    """Products of float32 matrices by float32, and what brings the caller's precision back.

    From torch 2.9 on each backend has its own; the setting for all of them raises where one was set.
    """
    if not hasattr(torch.backends, "fp32_precision"):
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        return lambda: torch.set_float32_matmul_precision(precision)
    every: Any = torch.backends
    backends = [every.cuda.matmul, every.mkldnn.matmul]
    before = [backend.fp32_precision for backend in backends]

    def give(precisions: list[str]) -> None:
        for backend, had, precision in zip(backends, before, precisions, strict=True):
            if had not in ("none", "ieee"):
                backend.fp32_precision = precision

    give(["ieee"] * len(backends))
    return lambda: give(before)


_products = SharedSetting(_exact_products, lambda: None)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """float32, the CPU, gradients, no autocast and no inference mode inside, in this thread.

    A caller may work with another default dtype or device (BoTorch's users set float64), in
    `torch.inference_mode()`, under autocast or with products of less precision; models and suggestions are
    what they are without. The precision of products is the process's: that of other threads is higher
    meanwhile, if it was not the highest.

    Example:
        >>> with torch.inference_mode(), torch_defaults():
        ...     torch.ones(1).requires_grad_().is_inference()
        False
    """
    with ExitStack() as stack:
        stack.enter_context(float32())
        stack.enter_context(_products)
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
