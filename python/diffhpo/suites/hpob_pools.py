# SPDX-License-Identifier: Apache-2.0
"""`hpob-pools`: HPO-B's discrete protocol on the surrogates of `hpob-reduced`.

HPO-B's tables hold thousands of random configurations of a search space; `hpob-reduced` brings 25 rows of
each. A pool of a thousand uniform configurations, valued by the task's surrogate, stands in for the table.
Figures compare with other methods on the same pools only.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from diffhpo.hpob.task import Task
from diffhpo.suites.hpob_reduced import hpob_reduced_suite
from diffhpo.suites.initial_designs import SEEDS, draw_designs, name_seed
from diffhpo.suites.suite import Suite, TaskSuite

#: Configurations of a pool.
POOL = 1000


def hpob_pools_suite(split: str = "report") -> TaskSuite:
    """The spaces of one split of `hpob-reduced`, "choice" or "report".

    A pool and its initial designs are functions of the names of space and task.

    Raises:
        InputError: on an unknown split.
        DataError: if the data is not there, or damaged.
    """
    reduced = hpob_reduced_suite(split)
    makers = {
        space: {task: partial(_task, reduced, space, task) for task in reduced.tasks(space)}
        for space in reduced.spaces()
    }
    return TaskSuite(makers, SEEDS)


def _task(reduced: Suite, space: str, name: str) -> Task:
    task = reduced.task(space, name)
    x = np.random.default_rng(name_seed("hpob-pools", space, name)).random((POOL, task.dim))
    designs = draw_designs(space, f"{name} pool", POOL)
    return Task(space, name, x, task.surrogate(x), initial=designs, source=task.surrogate.path)
