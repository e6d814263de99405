# SPDX-License-Identifier: Apache-2.0
"""Generative hyperparameter optimisation: a diffusion model reads the trials and proposes the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.lazy_import import lazy_exports

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

# Importing torch takes seconds, and the command line's --help needs none of it.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Categorical": "space",
        "Float": "space",
        "History": "history",
        "HistoryPolicy": "history_policy",
        "Int": "space",
        "Optimizer": "optimizer",
        "Policy": "policy",
        "Space": "space",
        "Suggestion": "optimizer",
    },
)
