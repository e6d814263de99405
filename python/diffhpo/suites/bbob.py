# SPDX-License-Identifier: Apache-2.0
"""BBOB: the 24 noiseless functions of COCO in 2, 3, 5 and 10 dimensions, by IOHexperimenter.

Hansen et al. (2009), "Real-Parameter Black-Box Optimization Benchmarking 2009: Noiseless Functions
Definitions", INRIA RR-6829; IOHexperimenter: de Nobel et al. (2021), arXiv 2111.04077. The functions are
minimised on [-5, 5]^d, so the response is their negative on the unit cube. A normalised regret of 0 is the
optimum, 1 the worst of 4,096 Sobol points. As values of some functions span many decades, ranks tell more
than mean regrets here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import qmc

from diffhpo.errors import DependencyError
from diffhpo.hpob.task import N_INITIAL, Task
from diffhpo.suites.initial_designs import SEEDS, draw_designs
from diffhpo.suites.splits import check_split
from diffhpo.suites.suite import TaskSuite

Array = NDArray[np.float64]

#: Split -> dimensions. What is chosen on the functions in 4 dimensions is reported in others.
DIMENSIONS = {"test": (2, 3, 5, 10), "validation": (4,)}
FUNCTIONS = range(1, 25)
INSTANCE = 1
#: Rows of the table that initial designs are drawn from.
ROWS = 40 * N_INITIAL
SCALE_LOG2 = 12


def _import_ioh() -> Any:
    try:
        import ioh
    except ImportError as error:
        raise DependencyError('the suite bbob needs ioh: pip install "diffhpo[bench]"') from error
    return ioh


class BBOBFunction:
    """Minus a BBOB function on the unit cube: a callable (k, d) -> (k,).

    Args:
        function: 1 to 24.
        dim: d.
        instance: of the function: shift and rotation.

    Raises:
        DependencyError: if ioh is not installed.
    """

    def __init__(self, function: int, dim: int, instance: int = INSTANCE) -> None:
        self.path = Path(f"bbob-f{function:02d}-d{dim}-i{instance}")
        self._arguments = function, dim, instance
        self._problem = self._load()

    def _load(self) -> Any:
        ioh = _import_ioh()
        function, dim, instance = self._arguments
        return ioh.get_problem(function, instance, dim, ioh.ProblemClass.BBOB)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_arguments": self._arguments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._problem = self._load()

    def __call__(self, x: ArrayLike) -> Array:
        """Responses (k,) of configurations (k, d)."""
        return -np.array(self._problem((10.0 * np.asarray(x, dtype=np.float64) - 5.0).tolist()))

    @property
    def optimum(self) -> float:
        """The highest response."""
        return -float(self._problem.optimum.y)


def bbob_suite(split: str = "test") -> TaskSuite:
    """All functions, one space for each dimension of the split, "test" or "validation".

    Raises:
        InputError: on another split.
        DependencyError: if ioh is not installed.
    """
    check_split("bbob", split, tuple(DIMENSIONS))
    _import_ioh()  # here, not in each of a thousand runs
    makers = {
        f"bbob-{dim}d": {f"f{function:02d}": partial(_task, function, dim) for function in FUNCTIONS}
        for dim in DIMENSIONS[split]
    }
    return TaskSuite(makers, SEEDS)


def _task(function: int, dim: int) -> Task:
    space, name = f"bbob-{dim}d", f"f{function:02d}"
    response = BBOBFunction(function, dim)
    rows = np.random.default_rng([dim, function]).random((ROWS, dim))
    worst = response(qmc.Sobol(dim, rng=np.random.default_rng(0)).random_base2(SCALE_LOG2)).min()
    return Task(
        space,
        name,
        rows,
        response(rows),
        initial=draw_designs(space, name, ROWS),
        surrogate=response,
        response_range=(float(worst), response.optimum),
        source=response.path,
    )
