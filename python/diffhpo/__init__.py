# SPDX-License-Identifier: Apache-2.0
"""Generative hyperparameter optimisation: a diffusion model reads the trials and proposes the next ones."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffhpo.history import History
    from diffhpo.history_policy import HistoryPolicy
    from diffhpo.optimizer import Optimizer, Suggestion
    from diffhpo.policy import Policy
    from diffhpo.space import Categorical, Float, Int, Space

__version__ = "0.1.0"

__all__ = [
    "Categorical",
    "Float",
    "History",
    "HistoryPolicy",
    "Int",
    "Optimizer",
    "Policy",
    "Space",
    "Suggestion",
    "__version__",
]

_MODULE = {
    "Categorical": "space",
    "Float": "space",
    "History": "history",
    "HistoryPolicy": "history_policy",
    "Int": "space",
    "Optimizer": "optimizer",
    "Policy": "policy",
    "Space": "space",
    "Suggestion": "optimizer",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: importing torch takes seconds, and the command line's --help needs none of it.
    if name in _MODULE:
        return getattr(import_module(f"diffhpo.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'diffhpo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
