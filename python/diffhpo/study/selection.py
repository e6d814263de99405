# SPDX-License-Identifier: Apache-2.0
"""Choosing a grid's tasks and seeds from a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffhpo.errors import InputError
from diffhpo.study.grid import Grid, Protocol

if TYPE_CHECKING:
    from diffhpo.suites import Suite


def build_grid(
    suite: str,
    *,
    methods: Sequence[str],
    split: str = "test",
    spaces: Sequence[str] = (),
    tasks: Sequence[str] = (),
    seeds: int | Sequence[str] = 5,
    protocol: Protocol = "continuous",
    corrected: bool = False,
    trials: int = 50,
    batch: int = 1,
    shard: str = "1/1",
) -> Grid:
    """The grid of the chosen part of a suite.

    Args:
        suite: a name of `diffhpo.suites.NAMES`, or the path of a directory in HPO-B's format.
        methods: names for `diffhpo.study.methods.create`.
        split: the suite's part that the tasks come from.
        spaces: search spaces; none means all.
        tasks: task names, or space/task where two spaces share a name; none means all of the spaces.
        seeds: how many of the tasks' seeds are used, from the first, or their names.
        protocol, corrected, trials, batch, shard: as in `Grid`.

    Raises:
        InputError: if a space, task or seed is not in the suite; the message lists those that are.
        DataError: if the suite cannot be read.
    """
    from diffhpo.suites import open_suite

    opened = open_suite(suite, split)
    pairs = _chosen_tasks(opened, list(spaces), list(tasks))
    return Grid(
        suite=suite,
        tasks=tuple(pairs),
        seeds=tuple(_chosen_seeds(opened, pairs, seeds)),
        methods=tuple(methods),
        split=split,
        protocol=protocol,
        corrected=corrected,
        trials=trials,
        batch=batch,
        shard=shard,
    )


def _chosen_tasks(suite: Suite, spaces: list[str], tasks: list[str]) -> list[tuple[str, str]]:
    available = list(suite.spaces())
    for space in spaces:
        if space not in available:
            raise InputError(f"space {space!r} is not in the suite; accepted: {', '.join(available)}")
    pairs = [(space, task) for space in spaces or available for task in suite.tasks(space)]
    if not tasks:
        return pairs
    chosen = []
    for wanted in tasks:
        found = [pair for pair in pairs if wanted in (pair[1], "/".join(pair))]
        if not found:
            names = ", ".join("/".join(pair) for pair in pairs)
            raise InputError(f"task {wanted!r} is not in the suite's chosen spaces; accepted: {names}")
        chosen += [pair for pair in found if pair not in chosen]
    return chosen


def _chosen_seeds(suite: Suite, pairs: list[tuple[str, str]], wanted: int | Sequence[str]) -> list[str]:
    """Seeds that every chosen task has."""
    common = list(suite.seeds(*pairs[0])) if pairs else []
    for pair in pairs[1:]:
        here = set(suite.seeds(*pair))
        common = [seed for seed in common if seed in here]
    if not common:
        raise InputError("the chosen tasks have no initial design (seed) in common; choose fewer tasks")
    if not isinstance(wanted, int):
        for seed in wanted:
            if seed not in common:
                raise InputError(f"seed {seed!r} is not one of every chosen task's: {', '.join(common)}")
        return list(wanted)
    if not 1 <= wanted <= len(common):
        raise InputError(f"seeds is {wanted}; 1 to {len(common)} are accepted: {', '.join(common)}")
    return common[:wanted]
