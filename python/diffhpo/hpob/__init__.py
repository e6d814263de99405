# SPDX-License-Identifier: Apache-2.0
"""HPO-B: its data, its two protocols, its results format, and diffhpo as a method in it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffhpo.hpob.data import Benchmark
    from diffhpo.hpob.method import DiffusionHPO
    from diffhpo.hpob.protocol import Run, evaluate_continuous, evaluate_discrete
    from diffhpo.hpob.results import Results, read_results, write_results
    from diffhpo.hpob.task import Task

__all__ = [
    "Benchmark",
    "DiffusionHPO",
    "Results",
    "Run",
    "Task",
    "evaluate_continuous",
    "evaluate_discrete",
    "read_results",
    "write_results",
]

_MODULE = {
    "Benchmark": "data",
    "DiffusionHPO": "method",
    "Results": "results",
    "Run": "protocol",
    "Task": "task",
    "evaluate_continuous": "protocol",
    "evaluate_discrete": "protocol",
    "read_results": "results",
    "write_results": "results",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: fetching data and reading results need no torch.
    if name in _MODULE:
        return getattr(import_module(f"diffhpo.hpob.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'diffhpo.hpob' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
