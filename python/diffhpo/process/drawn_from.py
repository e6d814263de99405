# SPDX-License-Identifier: Apache-2.0
"""First weights of a network: drawn from a generator of their own instead of torch's global one, or not at
all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diffhpo.process.torch_defaults import torch_defaults

#: What torch's modules initialise their weights with; each takes a generator.
_DRAWS = frozenset(
    {Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_}
)


class _Draws(TorchFunctionMode):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return func(*args, **({**given, "generator": self._generator} if func in _DRAWS else given))


class _NoDraws(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Inside, in this thread, weights are those that `torch.manual_seed(seed)` would give.

    They are made under `torch_defaults`, on the CPU. The process's generator is neither read nor changed: to
    seed it and put it back would give other threads (objectives that train networks, for example) our draws,
    and our weights would take some of theirs.

    Args:
        seed: 0 to 2**64 - 1.

    Example:
        >>> with drawn_from(3):
        ...     one = nn.Linear(2, 2)
        >>> state = torch.manual_seed(3)
        >>> torch.equal(one.weight, nn.Linear(2, 2).weight)
        True
    """
    with torch_defaults(), _Draws(seed):
        yield


@contextmanager
def not_drawn() -> Iterator[None]:
    """Inside, in this thread, weights are left as the memory was: for those that a file's replace at once.

    On the meta device a draw would import all of torch's compiler, a second or two, to do nothing.

    Example:
        >>> with not_drawn():
        ...     nn.Linear(2, 3).weight.shape
        torch.Size([3, 2])
    """
    with torch_defaults(), _NoDraws():
        yield
