# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffhpo.errors import InputError, RunError
from diffhpo.study.grid import Grid, method_seed, parse_shard

GRID = Grid(
    "embedded",
    tasks=(("a", "t1"), ("a", "t2"), ("b", "t1")),
    seeds=("test0", "test1"),
    methods=("random", "gp"),
    trials=10,
)


def test_cells_are_the_product_of_the_axes() -> None:
    cells = GRID.cells()
    assert len(cells) == len(set(cells)) == 3 * 2 * 2
    assert {(c.space, c.task) for c in cells} == set(GRID.tasks)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_partition_the_grid(count: int) -> None:
    shards = [replace(GRID, shard=f"{i}/{count}").cells_of_shard() for i in range(1, count + 1)]
    assert Counter(cell for shard in shards for cell in shard) == Counter(GRID.cells())


def test_a_cell_keeps_its_shard_when_the_grid_grows() -> None:
    part = replace(GRID, shard="1/3")
    grown = replace(part, methods=("tpe", *GRID.methods), seeds=("test4", *GRID.seeds))
    assert set(part.cells_of_shard()) == set(grown.cells_of_shard()) & set(GRID.cells())


def test_a_grid_survives_json() -> None:
    for grid in (GRID, replace(GRID, trials=np.int64(10), batch=np.int64(1))):
        assert Grid.from_json(json.loads(json.dumps(grid.to_json()))) == GRID


@pytest.mark.parametrize("tasks", [7, ["a"], [["a", "b", "c"]], [7]])
def test_tasks_of_a_grid_file_that_are_no_pairs_are_named(tasks: Any) -> None:
    with pytest.raises(InputError, match=r"the grid's tasks (are not pairs of space and task|is a int)"):
        Grid.from_json({**GRID.to_json(), "tasks": tasks})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "both"}, "continuous, discrete"),
        ({"trials": 0}, "trials is 0"),
        ({"trials": True}, "trials is True"),
        ({"trials": 2.5}, "trials is 2.5"),
        ({"batch": 0}, "batch is 0"),
        ({"corrected": "no"}, "corrected is 'no'"),
        ({"shard": "3/2"}, "i/n"),
        ({"methods": ()}, "methods is empty"),
        ({"methods": ("gp", "random", "gp")}, "gp more than once"),
        ({"seeds": ()}, "seeds is empty"),
        ({"tasks": (("a", "t"), ("a", "t"))}, "more than once"),
    ],
)
def test_a_bad_grid_names_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GRID, **change)


@pytest.mark.parametrize("shard", ["", "1", "0/2", "a/b", "1/2/3", "-1/2", "1/0"])
def test_a_bad_shard_is_refused(shard: str) -> None:
    with pytest.raises(InputError, match="i/n"):
        parse_shard(shard)


def test_a_resume_may_add_tasks_seeds_and_methods() -> None:
    wanted = replace(
        GRID, tasks=(("c", "t"), *GRID.tasks), seeds=(*GRID.seeds, "test2"), methods=("tpe", "gp", "random")
    )
    grown = GRID.resumed_by(wanted)
    assert set(grown.cells()) == set(wanted.cells())
    assert grown.methods == ("random", "gp", "tpe")  # what was there keeps its place


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"trials": 20}, ["trials is 10 in the directory and 20 in this call"]),
        ({"protocol": "discrete"}, ["protocol is 'continuous'"]),
        ({"shard": "1/2"}, ["shard is '1/1'"]),
        ({"corrected": True}, ["corrected is False"]),
        ({"methods": ("gp",)}, ["methods of the directory include random"]),
        ({"tasks": GRID.tasks[:1]}, ["include a/t2, b/t1"]),
        ({"trials": 20, "suite": "other"}, ["trials is 10", "suite is 'embedded'"]),
    ],
)
def test_a_resume_with_another_grid_says_every_difference(
    change: dict[str, Any], messages: list[str]
) -> None:
    with pytest.raises(RunError) as raised:
        GRID.resumed_by(replace(GRID, **change))
    assert all(message in str(raised.value) for message in messages)


def test_method_seeds_differ_between_tasks_and_between_seeds() -> None:
    seeds = {method_seed(space, task, seed) for space in "ab" for task in "tu" for seed in ("0", "1")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert method_seed("ab", "c", "0") != method_seed("a", "bc", "0")
