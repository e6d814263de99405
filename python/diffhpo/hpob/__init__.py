# SPDX-License-Identifier: Apache-2.0
"""HPO-B: its data, its two protocols, its results format, and diffhpo as a method in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.process.lazy_import import lazy_exports

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

# Fetching data and reading results need no torch.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Benchmark": "data",
        "DiffusionHPO": "method",
        "Results": "results",
        "Run": "protocol",
        "Task": "task",
        "evaluate_continuous": "protocol",
        "evaluate_discrete": "protocol",
        "read_results": "results",
        "write_results": "results",
    },
)
