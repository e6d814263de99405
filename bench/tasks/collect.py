# SPDX-License-Identifier: Apache-2.0
"""Evaluates learners on tables until the work or the time is out.

    PYTHONPATH=python:. python -m bench.tasks.collect --tables DIR --journal runs/tasks.jsonl --minutes 45

DIR holds the OpenML tables as CSV with MANIFEST.json.  Finished evaluations go to the journal, so a stopped
run goes on where it was.  One process, one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from bench.suite.journal import Journal
from bench.suite.tables import load_table
from bench.tasks.design import N_BROAD, N_LOCAL, broad, local
from bench.tasks.evaluate import Evaluator
from bench.tasks.spaces import GUIDE, SPACES
from bench.tasks.variants import MARK, variant
from numpy.typing import NDArray

from diffhpo.hpob.suite.column import to_native
from diffhpo.pretraining.split import TRAIN_TABLES


def schedule(variants: int) -> Iterator[tuple[str, str, int]]:
    """(learner, table, variant): every learner's first table before any learner's second, all whole tables
    before any variant."""
    for number in range(variants):
        for turn in range(len(TRAIN_TABLES)):
            for i, learner in enumerate(SPACES):
                yield learner, TRAIN_TABLES[(turn + i) % len(TRAIN_TABLES)], number


def collect(learner: str, evaluator: Evaluator, table: str, journal: Journal, stop: float) -> int:
    """Evaluate one task's design until it is complete or `stop` (time.monotonic) is reached.

    Returns:
        Number of evaluations that it has now.
    """
    columns, task = SPACES[learner], f"{learner}/{table}"

    def value(point: NDArray[np.float64]) -> float:
        known = journal.get(f"{task}/{GUIDE[learner]}", point.tolist())
        if known is None:
            start = time.perf_counter()
            responses = evaluator(learner, to_native(columns, point[None])[0])
            seconds = time.perf_counter() - start
            # The guiding response last: its presence says that the others are there.
            for name in sorted(responses, key=lambda name: name == GUIDE[learner]):
                journal.add(f"{task}/{name}", point.tolist(), responses[name], seconds)
            known = responses[GUIDE[learner]]
        return known

    x, y = broad(task, columns), np.empty(0)
    while len(y) < N_BROAD + N_LOCAL:
        if len(y) == len(x):
            x = np.concatenate([x, local(task, columns, x, y)])
            if len(x) == len(y):
                break
        if time.monotonic() > stop:
            break
        y = np.append(y, value(x[len(y)]))
    return len(y)


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect until done or out of time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--variants", type=int, default=6, help="tables made of each table, itself included")
    parser.add_argument("--minutes", type=float, required=True, help="time limit")
    options = parser.parse_args(arguments)
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(options.journal)
    begin = time.monotonic()
    stop = begin + 60.0 * options.minutes
    tables = {name: load_table(name, options.tables) for name in TRAIN_TABLES}
    evaluators: dict[str, Evaluator] = {}
    for learner, name, number in schedule(options.variants):
        if time.monotonic() > stop:
            break
        table = f"{name}{MARK}{number}" if number else name
        if table not in evaluators:
            evaluators[table] = Evaluator(variant(tables[name], number))
        start = time.monotonic()
        count = collect(learner, evaluators[table], table, journal, stop)
        now = time.monotonic()
        print(f"{now - begin:7.0f} s  {learner} on {table}: {count} in {now - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
