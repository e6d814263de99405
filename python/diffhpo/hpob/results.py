# SPDX-License-Identifier: Apache-2.0
"""HPO-B's results files: one JSON file per method, {space: {task: {seed: [incumbent, ...]}}}."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from diffhpo.errors import DataError, InputWarning
from diffhpo.hpob.json_file import find_file, read_json, write_json

Results = dict[str, dict[str, dict[str, list[float]]]]

#: Incumbents may leave [0, 1] by this much, from rounding in the normalisation.
TOLERANCE = 1e-9


def runs(results: Results) -> Iterator[tuple[tuple[str, str, str], list[float]]]:
    """Every run as ((space, task, seed), incumbents), in the file's order.

    Example:
        >>> list(runs({"5971": {"43": {"test0": [0.5, 0.75]}}}))
        [(('5971', '43', 'test0'), [0.5, 0.75])]
    """
    for space, tasks in results.items():
        for task, seeds in tasks.items():
            for seed, incumbents in seeds.items():
                yield (space, task, seed), incumbents


def check_results(results: Any, source: str = "results", *, warn_falling: bool = True) -> Results:
    """The same results with every incumbent a float.

    Args:
        results: {space: {task: {seed: [incumbent, ...]}}}, numbers in [0, 1].
        source: where they came from, for messages.
        warn_falling: issue one InputWarning if incumbents of a run fall; some published files have this.

    Raises:
        DataError: naming the first place where the nesting, a number or its range is wrong.
    """
    checked: Results = {}
    falling = []
    for space, tasks in _items(results, source):
        checked[space] = {}
        for task, seeds in _items(tasks, f"{source}: space {space}"):
            checked[space][task] = {}
            for seed, incumbents in _items(seeds, f"{source}: space {space}, task {task}"):
                where = f"{source}: space {space}, task {task}, seed {seed}"
                curve = _curve(incumbents, where)
                checked[space][task][seed] = curve
                if any(b < a for a, b in pairwise(curve)):
                    falling.append(where)
    if falling and warn_falling:
        warnings.warn(
            f"{len(falling)} runs have incumbents that fall, the first {falling[0]}; they are kept as they "
            "are (warn_falling=False silences this)",
            InputWarning,
            stacklevel=2,
        )
    return checked


def _items(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"{where} is {type(value).__name__} {str(value)[:40]}; a filled object is needed")
    for key, item in value.items():
        if not isinstance(key, str):
            raise DataError(f"{where} has the key {key!r}; names are strings")
        yield key, item


def _curve(values: Any, where: str) -> list[float]:
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) == 0:
        raise DataError(f"{where} is {str(values)[:40]!r}; a filled list of incumbents is needed")
    curve = []
    for index, value in enumerate(values):
        try:
            number = math.nan if isinstance(value, str | bool) else float(value)
        except (OverflowError, TypeError, ValueError):
            number = math.nan
        if not -TOLERANCE <= number <= 1 + TOLERANCE:
            raise DataError(f"{where}, entry {index} is {value!r}; incumbents are numbers in [0, 1]")
        curve.append(number)
    return curve


def read_results(path: str | Path, *, warn_falling: bool = True) -> Results:
    """Read a method's results file, plain or gzipped (`path`.gz is taken if `path` is not there).

    Raises:
        DataError: if the file is missing, truncated or not in HPO-B's format.
    """
    path = Path(path)
    file = find_file(path)
    if file is None:
        raise DataError(f"{path} is missing; give the path of a file {{space: {{task: {{seed: [...]}}}}}}")
    return check_results(read_json(file), str(file), warn_falling=warn_falling)


def write_results(path: str | Path, results: Results) -> None:
    """Write a method's results file in one atomic step; all digits are kept.

    Raises:
        DataError: if the results are not in HPO-B's format, or the file cannot be written; an old file
            of the same name then stays as it was.
    """
    write_json(Path(path), check_results(results, "results", warn_falling=False))
