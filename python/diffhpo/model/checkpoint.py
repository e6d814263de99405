# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a model's weights, shapes and training state in one safetensors file, written atomically."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from diffhpo.errors import CheckpointError
from diffhpo.files.json_text import parse_json
from diffhpo.model.network import Network
from diffhpo.model.predictor import Predictor
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.tensor_file import build, named, read_tensors, refuse_unknown, write_tensors
from diffhpo.model.transformer import Transformer
from diffhpo.process.torch_defaults import torch_defaults

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
    write_tensors(path, tensors, metadata)


@torch_defaults()
def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint written by `save_checkpoint`; pickles are never read.

    Raises:
        CheckpointError: if the file is missing, truncated, corrupt, not diffhpo's, of a later schema, or its
            tensors are not finite or do not fit the shapes that it states. Nothing is loaded then.
    """
    tensors, metadata = read_tensors(path, kind="diffhpo", schema=SCHEMA, described="a diffhpo checkpoint")
    parts = {part: named(f"{part}.", tensors) for part in ("network", "transformer", "predictor")}
    try:
        network = build(Network, parse_json(metadata["network"]), parts["network"], path)
        transformer = build(Transformer, parse_json(metadata["transformer"]), parts["transformer"], path)
        predictor = None
        if "predictor" in metadata:
            predictor = build(Predictor, parse_json(metadata["predictor"]), parts["predictor"], path)
        step, extra = int(metadata["step"]), parse_json(metadata["extra"])
        schedule = NoiseSchedule(tensors["schedule.betas"])
        if step < 0 or not isinstance(extra, dict):
            raise ValueError(f"step is {step}, extra a {type(extra).__name__}")
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error!r}") from error
    refuse_unknown(path, tensors, ("schedule.betas", "network.", "transformer.", "predictor.", "optimizer."))
    return Checkpoint(network, transformer, schedule, step, named("optimizer.", tensors), extra, predictor)
