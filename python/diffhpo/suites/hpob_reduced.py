# SPDX-License-Identifier: Apache-2.0
"""`hpob-reduced`: HPO-B with fewer columns, split into spaces that choose settings and reported ones.

Surrogates that the authors of EvoContext (github.com/acmisxuyutian/EvoContext) retrained on HPO-B's data
without the indicator columns. Figures compare with other methods on the same files only.
"""

from __future__ import annotations

from functools import partial

from diffhpo.hpob.data import Benchmark
from diffhpo.hpob.task import Task
from diffhpo.suites.data_directory import data_file
from diffhpo.suites.initial_designs import SEEDS, draw_designs
from diffhpo.suites.splits import HPOB_REDUCED, check_split
from diffhpo.suites.suite import TaskSuite


def hpob_reduced_suite(split: str = "report") -> TaskSuite:
    """The spaces of one split, "choice" or "report".

    Seeds test0 to test4 are HPO-B's initial designs; the later ones are drawn from the table's rows.

    Raises:
        InputError: on an unknown split.
        DataError: if the data is not there, or damaged.
    """
    check_split("hpob-reduced", split, HPOB_REDUCED)
    benchmark = Benchmark(data_file("hpob-reduced"))
    makers = {
        space: {task: partial(_task, benchmark, space, task) for task in benchmark.tasks(space)}
        for space in HPOB_REDUCED[split]
    }
    return TaskSuite(makers, SEEDS)


def _task(benchmark: Benchmark, space: str, name: str) -> Task:
    task = benchmark.task(space, name)
    own = {seed: task.initial(seed) for seed in task.seeds()}
    return task.with_initial(draw_designs(space, name, len(task)) | own)
