# SPDX-License-Identifier: Apache-2.0
"""An optimizer on disk: one safetensors file with the trials in the unit cube and the space as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffhpo.arguments.file_path import file_path
from diffhpo.errors import CheckpointError, InputError, SpaceError
from diffhpo.files.atomic_write import reason_and_remedy
from diffhpo.files.json_text import parse_json
from diffhpo.files.run_lock import RunLock
from diffhpo.history import Array
from diffhpo.model.tensor_file import read_tensors, refuse_unknown, write_tensors
from diffhpo.space import Space

#: Version of the file's layout; a reader refuses files of a later one.
SCHEMA = 1
_FORMAT = "diffhpo-optimizer"
_TENSORS = ("units", "queue", "values", "told", "failed")


@dataclass(frozen=True)
class OptimizerState:
    """What an `Optimizer` is, but for its space and its policy."""

    units: Array
    """(n, d)"""
    values: Array
    """(n,); 0 where there is none, infinite values as they were told."""
    told: NDArray[np.bool_]
    """(n,) whether there is a value."""
    failed: NDArray[np.bool_]
    """(n,)"""
    queue: Array
    """(q, d)"""
    seed: int
    direction: str
    initial: int
    own_policy: bool
    """Whether a policy was given."""


@contextlib.contextmanager
def locked(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Hold `path`.lock, so that no second process runs on the file; without a path nothing is held.

    An owner that died does not count, on whatever host it was: what is preempted goes on elsewhere. Windows
    has no such lock.

    Raises:
        RunError: if another process holds it.
        CheckpointError: if it, and so the file, cannot be written.
    """
    if path is None or sys.platform == "win32":
        yield
        return
    file = file_path(path)
    if file.is_dir():
        raise CheckpointError(f"{path} could not be written: it is a directory; name a file in it")
    try:
        lock = RunLock(file.parent / f"{file.name}.lock", str(path), temporary=True)
    except ValueError as error:  # a null character in the name
        raise CheckpointError(f"{path} could not be written: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {reason_and_remedy(error)}") from error
    with lock:
        yield


def write_state(path: str | os.PathLike[str], space: Space, state: OptimizerState) -> None:
    """Write a file; a crash at any moment leaves either the old one or the new one.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    try:
        described = json.dumps(space.to_json())
    except SpaceError:
        described = ""
    tensors = {
        "units": torch.from_numpy(state.units),
        "queue": torch.from_numpy(state.queue),
        # As bits: the reader takes a float that is not finite for damage, and a user may tell an infinity.
        "values": torch.from_numpy(state.values.astype(np.float64).view(np.int64)),
        "told": torch.from_numpy(state.told),
        "failed": torch.from_numpy(state.failed),
    }
    metadata = {
        "format": _FORMAT,
        "schema": str(SCHEMA),
        "space": described,
        "columns": json.dumps(_columns(space)),
        "run": json.dumps([str(state.seed), state.direction, state.initial, state.own_policy]),
    }
    write_tensors(path, tensors, metadata)


def read_state(
    path: str | os.PathLike[str], space: Space | None, *, policy_given: bool
) -> tuple[Space, OptimizerState]:
    """The space and the state of a file.

    Args:
        path: the file.
        space: used in the place of the file's, if given; its columns must be the same.
        policy_given: whether the caller has a policy.

    Raises:
        InputError: if `space` is given and is no Space.
        CheckpointError: if the file is missing, damaged, of a later version or of another space, or if it
            needs a space or a policy that was not given.
    """
    if space is not None and not isinstance(space, Space):
        raise InputError(f"space is {type(space).__name__}; a diffhpo.Space is needed")
    tensors, metadata = read_tensors(
        path, kind=_FORMAT, schema=SCHEMA, described="a diffhpo optimizer; Optimizer.save writes one"
    )
    refuse_unknown(path, tensors, _TENSORS)
    try:
        described, columns = metadata["space"], parse_json(metadata["columns"])
        seed, direction, initial, own_policy = parse_json(metadata["run"])
        if space is None and described:
            space = Space.from_json(parse_json(described))
        state = OptimizerState(
            units=tensors["units"].numpy().astype(np.float64),
            values=tensors["values"].numpy().astype(np.int64).view(np.float64),
            # By way of the bytes: one that is neither 0 nor 1 is no truth value to count by.
            told=tensors["told"].view(torch.uint8).numpy() != 0,
            failed=tensors["failed"].view(torch.uint8).numpy() != 0,
            queue=tensors["queue"].numpy().astype(np.float64),
            seed=int(seed),
            direction=direction,
            initial=initial,
            own_policy=own_policy,
        )
    except (KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {str(error)[:1000] or error!r}") from error
    if space is None:
        raise CheckpointError(
            f"{path} has a space with a `forbidden` function, or with choices that JSON cannot hold; give it "
            "again: Optimizer.load(path, space=...)"
        )
    if columns != _columns(space):
        raise CheckpointError(f"{path} is of another space: its columns are {columns}")
    if own_policy and not policy_given:
        raise CheckpointError(
            f"{path} is of an optimizer with a policy of its own; give it again: "
            "Optimizer.load(path, policy=...)"
        )
    sound = direction in ("maximize", "minimize") and type(own_policy) is bool
    if not sound or type(initial) is not int or min(initial, state.seed) < 0:
        raise CheckpointError(f"{path} is damaged: its settings are {metadata['run']!r:.200}")
    if tensors["values"].dtype != torch.int64:
        raise CheckpointError(
            f"{path} is damaged: values are {tensors['values'].dtype}, not bits in torch.int64"
        )
    n = state.told.size
    shapes = {
        "told": (state.told, (n,)),
        "units": (state.units, (n, space.dim)),
        "values": (state.values, (n,)),
        "failed": (state.failed, (n,)),
        "queue": (state.queue, (*state.queue.shape[:1], space.dim)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise CheckpointError(f"{path} is damaged: {name} has shape {array.shape}, not {shape}")
    inside = np.concatenate([state.units, state.queue])
    if ((inside < 0) | (inside > 1)).any() or np.isnan(state.values[state.told]).any():
        raise CheckpointError(
            f"{path} is damaged: a configuration is outside the unit cube, or a value is nan"
        )
    if (state.told & state.failed).any():
        raise CheckpointError(f"{path} is damaged: a failed trial has a value")
    return space, state


def check_replaceable(path: str | os.PathLike[str], state: OptimizerState) -> None:
    """Refuse to replace a file that has values which an optimizer does not know of.

    Raises:
        CheckpointError: if there is a file and it is no saved optimizer, or has such values.
    """
    if not os.path.exists(file_path(path)):
        return
    try:
        tensors, _ = read_tensors(
            path, kind=_FORMAT, schema=SCHEMA, described="a diffhpo optimizer; Optimizer.save writes one"
        )
        told, failed = (tensors[name].numpy() for name in ("told", "failed"))
        there = _outcomes(tensors["values"].numpy().view(np.float64), told, failed)
    except (CheckpointError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is there and cannot be continued: {error}; name another file, or delete it"
        ) from error
    lost = there - _outcomes(state.values, state.told, state.failed)
    if lost:
        raise CheckpointError(
            f"{path} has {lost.total()} values that this optimizer was not told, and would be replaced; go "
            "on with them by Optimizer.load(path), or name another file"
        )


def _outcomes(values: Array, told: NDArray[np.bool_], failed: NDArray[np.bool_]) -> Counter[float | None]:
    """How often each value, and a failure (None), was told.

    Configurations are left out: told from elsewhere in the space's own units, they may stand a rounding error
    away in the unit cube.
    """
    return Counter(
        float(value) if known else None
        for value, known, lost in zip(values, told, failed, strict=True)
        if known or lost
    )


def _columns(space: Space) -> list[list[object]]:
    """What tells spaces apart: where every column's values stand."""
    return [
        [name, repr(parameter), [[c.parent, repr(c.values)] for c in space.conditions.get(name, ())]]
        for name, parameter in space.parameters.items()
    ]
