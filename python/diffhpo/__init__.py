# SPDX-License-Identifier: Apache-2.0
"""Generative hyperparameter optimisation: a diffusion model reads the trials and proposes the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.process.lazy_import import lazy_exports
from diffhpo.process.main_interpreter import require_main_interpreter

if TYPE_CHECKING:
    from diffhpo.history import History
    from diffhpo.history_policy import HistoryPolicy
    from diffhpo.optimizer import Optimizer
    from diffhpo.policy import Policy
    from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Space
    from diffhpo.trial import Suggestion, Trial

__version__ = "0.1.0"

__all__ = [
    "Categorical",
    "Condition",
    "Constant",
    "Float",
    "History",
    "HistoryPolicy",
    "Int",
    "Optimizer",
    "Ordinal",
    "Policy",
    "Space",
    "Suggestion",
    "Trial",
    "__version__",
]

require_main_interpreter()

# Importing torch takes seconds, and the command line's --help needs none of it.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Categorical": "space",
        "Condition": "space",
        "Constant": "space",
        "Float": "space",
        "History": "history",
        "HistoryPolicy": "history_policy",
        "Int": "space",
        "Optimizer": "optimizer",
        "Ordinal": "space",
        "Policy": "policy",
        "Space": "space",
        "Suggestion": "trial",
        "Trial": "trial",
    },
)
