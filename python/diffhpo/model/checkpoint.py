# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a model's weights, shapes and training state in one safetensors file, written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from diffhpo.atomic_write import write_atomically
from diffhpo.errors import CheckpointError
from diffhpo.model.network import Network
from diffhpo.model.predictor import Predictor
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import Transformer

#: Version of the file's layout; a reader refuses files of a later one.
SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    network: Network
    transformer: Transformer
    schedule: NoiseSchedule
    step: int = 0
    """Training steps done."""
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    """State of the optimiser by name, empty if the file is for use only."""
    extra: dict[str, Any] = field(default_factory=dict)
    """JSON values that the writer wanted to keep: seeds, loss history, provenance."""
    predictor: Predictor | None = None
    """On the same transformer, where there is one."""


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a crash at any moment leaves either the old file or the new one.

    Raises:
        CheckpointError: if the file cannot be written; the message names it.
    """
    tensors: dict[str, Tensor] = {"schedule.betas": checkpoint.schedule.betas}
    parts: dict[str, nn.Module] = {"network": checkpoint.network, "transformer": checkpoint.transformer}
    if checkpoint.predictor is not None:
        parts["predictor"] = checkpoint.predictor
    for prefix, part in parts.items():
        tensors.update({f"{prefix}.{name}": value for name, value in part.state_dict().items()})
    tensors.update({f"optimizer.{name}": value for name, value in checkpoint.optimizer.items()})
    metadata = {
        "format": "diffhpo",
        "schema": str(SCHEMA),
        "network": json.dumps(checkpoint.network.config),
        "transformer": json.dumps(checkpoint.transformer.config),
        "step": str(checkpoint.step),
        "extra": json.dumps(checkpoint.extra),
    }
    if checkpoint.predictor is not None:
        metadata["predictor"] = json.dumps(checkpoint.predictor.config)
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)
    try:
        write_atomically(Path(path), data)
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {error}; nothing was changed") from error


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint written by `save_checkpoint`; pickles are never read.

    Raises:
        CheckpointError: if the file is missing, truncated, corrupt, not diffhpo's, of a later schema, or its
            tensors are not finite or do not fit the shapes that it states. Nothing is loaded then.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("format") != "diffhpo":
        raise CheckpointError(f"{path} is a safetensors file, but not a diffhpo checkpoint")
    try:
        schema = int(metadata["schema"])
        if schema > SCHEMA:
            raise CheckpointError(
                f"{path} has schema {schema}; this version reads up to {SCHEMA}: install a newer diffhpo"
            )
        network = Network(**json.loads(metadata["network"]))
        transformer = Transformer(**json.loads(metadata["transformer"]))
        predictor = Predictor(**json.loads(metadata["predictor"])) if "predictor" in metadata else None
        step, extra = int(metadata["step"]), json.loads(metadata["extra"])
        schedule = NoiseSchedule(tensors.pop("schedule.betas"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error!r}") from error
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: tensor {name} holds values that are not finite")
    _fill(network, "network.", tensors, path)
    _fill(transformer, "transformer.", tensors, path)
    if predictor is not None:
        _fill(predictor, "predictor.", tensors, path)
    prefix = "optimizer."
    optimizer = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    return Checkpoint(network, transformer, schedule, step, optimizer, extra, predictor)


def _fill(part: nn.Module, prefix: str, tensors: Mapping[str, Tensor], path: object) -> None:
    state = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the shapes that it states: {error}") from error
