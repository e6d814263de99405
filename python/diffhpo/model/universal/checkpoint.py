# SPDX-License-Identifier: Apache-2.0
"""Files of the universal model: weights, shapes and, for training, what a run needs to go on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from diffhpo.atomic_write import write_atomically
from diffhpo.errors import CheckpointError
from diffhpo.model.universal.model import UniversalModel

#: Version of the file's layout; a reader refuses files of a later one.
SCHEMA = 1

_FORMAT = "diffhpo-universal"


@dataclass(frozen=True)
class UniversalCheckpoint:
    """What a file holds."""

    model: UniversalModel
    step: int = 0
    """Training steps done."""
    training: dict[str, Tensor] = field(default_factory=dict)
    """The run's other tensors by name; empty in a file for use only."""
    facts: dict[str, Any] = field(default_factory=dict)
    """JSON values: preset, seed, provenance."""


def save_universal(
    path: str | os.PathLike[str], checkpoint: UniversalCheckpoint, *, half: bool = False
) -> None:
    """Write a file; a crash at any moment leaves either the old one or the new one.

    Args:
        half: store the model's weights as bfloat16, half the size; for use, not for going on.

    Raises:
        CheckpointError: if the file cannot be written; the message names it.
    """
    tensors = {f"model.{name}": value for name, value in checkpoint.model.state_dict().items()}
    if half:
        tensors = {name: value.bfloat16() for name, value in tensors.items()}
    tensors.update({f"training.{name}": value for name, value in checkpoint.training.items()})
    metadata = {
        "format": _FORMAT,
        "schema": str(SCHEMA),
        "model": json.dumps(checkpoint.model.config),
        "step": str(checkpoint.step),
        "facts": json.dumps(checkpoint.facts),
    }
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)
    try:
        write_atomically(Path(path), data)
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {error}; nothing was changed") from error


def load_universal(path: str | os.PathLike[str]) -> UniversalCheckpoint:
    """Read a file of `save_universal`; pickles are never read.

    Raises:
        CheckpointError: if the file is missing, truncated, corrupt, not of a universal model, of a later
            schema, or its tensors are not finite or do not fit the shapes that it states.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not one of diffhpo's universal model")
    try:
        schema = int(metadata["schema"])
        if schema > SCHEMA:
            raise CheckpointError(
                f"{path} has schema {schema}; this version reads up to {SCHEMA}: install a newer diffhpo"
            )
        model = UniversalModel(**json.loads(metadata["model"]))
        step, facts = int(metadata["step"]), json.loads(metadata["facts"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error!r}") from error
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: tensor {name} holds values that are not finite")
    state = {name[6:]: value.float() for name, value in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the shapes that it states: {error}") from error
    training = {name[9:]: value for name, value in tensors.items() if name.startswith("training.")}
    return UniversalCheckpoint(model, step, training, facts)
