# SPDX-License-Identifier: Apache-2.0
"""Files of named tensors and a little text: safetensors, written atomically, checked when read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from diffhpo.atomic_write import write_atomically
from diffhpo.errors import CheckpointError


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write a file; a crash at any moment leaves either the old one or the new one.

    Raises:
        CheckpointError: if the file cannot be written; the message names it.
    """
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)
    try:
        write_atomically(Path(path), data)
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {error}; nothing was changed") from error


def read_tensors(
    path: str | os.PathLike[str], *, kind: str, schema: int, described: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text of a file; pickles are never read.

    Args:
        kind: what the file must call its "format".
        schema: the latest layout that can be read.
        described: what the file should be, in messages.

    Raises:
        CheckpointError: if the file is missing, truncated, corrupt, of another format or a later schema, or
            holds values that are not finite.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("format") != kind:
        raise CheckpointError(f"{path} is a safetensors file, but not {described}")
    try:
        found = int(metadata["schema"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error!r}") from error
    if found > schema:
        raise CheckpointError(
            f"{path} has schema {found}; this version reads up to {schema}: install a newer diffhpo"
        )
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: tensor {name} holds values that are not finite")
    return tensors, metadata


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose name begins with a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def fill(part: nn.Module, state: Mapping[str, Tensor], path: object) -> None:
    """Load a module's state.

    Raises:
        CheckpointError: if it does not fit; the message names the file.
    """
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the shapes that it states: {error}") from error
