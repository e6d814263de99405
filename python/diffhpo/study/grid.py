# SPDX-License-Identifier: Apache-2.0
"""The grid of a study: which space, task, seed and method are run, and what a resume may change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError, RunError

Protocol = Literal["continuous", "discrete"]
Value = TypeVar("Value")

#: Fields of a Grid that may only grow when a run directory is resumed; every other field must stay equal.
GROWING = ("tasks", "seeds", "methods")


class Cell(NamedTuple):
    """One run of the grid: a method on a task from one set of initial points."""

    space: str
    task: str
    seed: str
    method: str

    def __str__(self) -> str:
        return "/".join(self)


def method_seed(space: str, task: str, seed: str) -> int:
    """The random seed of a method in one run: 31 bits of the SHA-256 of space, task and HPO-B seed.

    Tasks get different seeds because with one seed for all, Random Search would draw the same points on every
    task and the tasks would not be independent repeats. Methods share it.

    Example:
        >>> method_seed("5971", "10093", "test0") == method_seed("5971", "10093", "test0")
        True
        >>> method_seed("5971", "10093", "test0") == method_seed("5971", "3954", "test0")
        False
    """
    digest = hashlib.sha256("\0".join((space, task, seed)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def parse_shard(shard: str) -> tuple[int, int]:
    """Index and count of a shard "i/n", 1 <= i <= n.

    Raises:
        InputError: if the text is anything else.

    Example:
        >>> parse_shard("2/4")
        (2, 4)
    """
    index, slash, count = shard.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise InputError(f"shard is {shard!r}; i/n with 1 <= i <= n is needed, for example 1/4")


@dataclass(frozen=True)
class Grid:
    """What a study runs: the product of tasks, seeds and methods under one protocol.

    Attributes:
        suite: a name of `diffhpo.suites.NAMES`, or the path of a directory in HPO-B's format.
        split: the suite's part that the tasks come from.
        protocol: "continuous" or "discrete".
        corrected: whether the protocol's corrected mode is used rather than the official one.
        trials: suggestions per run, at least 1, after the initial points; with batches, the rounds.
        batch: configurations that are suggested and evaluated together, at least 1; more than 1 is possible
            in the continuous protocol alone, and its curves have an entry for each round.
        tasks: (space, task) pairs.
        seeds: HPO-B seeds, which name the initial points ("test0", ...).
        methods: names for `diffhpo.study.methods.create`.
        shard: the part of the grid that this run directory holds, "i/n" ("1/1" is all of it).

    Raises:
        InputError: on an empty or repeated axis, an unknown protocol, trials or batch < 1, batches in the
            discrete protocol, or a bad shard.

    Example:
        >>> grid = Grid("embedded", tasks=(("xgb", "wine"),), seeds=("test0",), methods=("random", "gp"))
        >>> [str(cell) for cell in grid.cells()]
        ['xgb/wine/test0/random', 'xgb/wine/test0/gp']
    """

    suite: str
    tasks: tuple[tuple[str, str], ...]
    seeds: tuple[str, ...]
    methods: tuple[str, ...]
    split: str = "test"
    protocol: Protocol = "continuous"
    corrected: bool = False
    trials: int = 50
    batch: int = 1
    shard: str = "1/1"

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise InputError(f"protocol is {self.protocol!r}; accepted: {', '.join(get_args(Protocol))}")
        for name in ("trials", "batch"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, least=1))
        if not isinstance(self.corrected, bool):
            raise InputError(f"corrected is {self.corrected!r}; True or False is needed")
        if self.batch > 1 and self.protocol != "continuous":
            raise InputError(f"batch is {self.batch}; the {self.protocol} protocol has no batches, give 1")
        parse_shard(self.shard)
        for axis in GROWING:
            values: Sequence[object] = getattr(self, axis)
            if not values:
                raise InputError(f"{axis} is empty; name at least one")
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise InputError(f"{axis} names {', '.join(repeated)} more than once")

    def cells(self) -> list[Cell]:
        """Every run of the whole grid, by task, then seed, then method."""
        return [
            Cell(space, task, seed, method)
            for space, task in self.tasks
            for seed in self.seeds
            for method in self.methods
        ]

    def cells_of_shard(self) -> list[Cell]:
        """The runs that this shard makes.

        A cell belongs to a shard by the hash of its name, so that it stays there when the grid grows.
        """
        index, count = parse_shard(self.shard)
        return [cell for cell in self.cells() if _shard_of(cell, count) == index]

    def to_json(self) -> dict[str, Any]:
        """The grid as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Grid:
        """The grid that `to_json` gave.

        Raises:
            InputError: if a field is missing, unknown or of a wrong type.
        """
        names = {field.name for field in fields(cls)}
        texts = ("suite", "split", "protocol", "shard")
        if isinstance(values, dict):
            values = {"batch": 1, **values}  # directories of before batches have no such field
        if not isinstance(values, dict) or set(values) != names:
            raise InputError(f"a grid needs exactly the fields {', '.join(sorted(names))}")
        for name in (*texts, "corrected", *GROWING):
            kind = str if name in texts else bool if name == "corrected" else (list, tuple)
            if not isinstance(values[name], kind):
                raise InputError(f"the grid's {name} is a {type(values[name]).__name__}")
        try:
            tasks = tuple((str(space), str(task)) for space, task in values["tasks"])
        except (TypeError, ValueError):
            raise InputError("the grid's tasks are not pairs of space and task") from None
        axes = {axis: tuple(str(value) for value in values[axis]) for axis in ("seeds", "methods")}
        return cls(**{**values, **axes, "tasks": tasks})

    def resumed_by(self, wanted: Grid) -> Grid:
        """The grid of a run directory that holds `self` after a run of `wanted` in it.

        Tasks, seeds and methods may be added; anything else has to be equal.

        Raises:
            RunError: naming every field that differs, with both values.
        """
        differences = [
            f"{field.name} is {getattr(self, field.name)!r} in the directory and "
            f"{getattr(wanted, field.name)!r} in this call"
            for field in fields(self)
            if field.name not in GROWING and getattr(self, field.name) != getattr(wanted, field.name)
        ]
        differences += [
            f"{axis} of the directory include {', '.join(map(_axis_name, lost))}, which this call leaves out"
            for axis in GROWING
            if (lost := [v for v in getattr(self, axis) if v not in getattr(wanted, axis)])
        ]
        if differences:
            raise RunError(
                "the run directory holds another grid: " + "; ".join(differences) + ". Use another --out, or "
                "repeat the directory's own settings (tasks, seeds and methods may be added)"
            )
        return replace(
            self,
            tasks=_union(self.tasks, wanted.tasks),
            seeds=_union(self.seeds, wanted.seeds),
            methods=_union(self.methods, wanted.methods),
        )


def _shard_of(cell: Cell, count: int) -> int:
    digest = hashlib.sha256("\0".join(cell).encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % count


def _axis_name(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else "/".join(value)


def _union(old: Iterable[Value], new: Iterable[Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys((*old, *new)))
