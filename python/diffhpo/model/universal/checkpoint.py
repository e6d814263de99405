# SPDX-License-Identifier: Apache-2.0
"""Files of the universal model: weights, shapes and, for training, what a run needs to go on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from diffhpo.errors import CheckpointError
from diffhpo.files.json_text import parse_json
from diffhpo.model.tensor_file import build, named, read_tensors, refuse_unknown, write_tensors
from diffhpo.model.universal.model import UniversalModel
from diffhpo.process.torch_defaults import torch_defaults

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
    write_tensors(path, tensors, metadata)


@torch_defaults()
def load_universal(path: str | os.PathLike[str]) -> UniversalCheckpoint:
    """Read a file of `save_universal`; pickles are never read.

    Raises:
        CheckpointError: if the file is missing, truncated, corrupt, not of a universal model, of a later
            schema, or its tensors are not finite or do not fit the shapes that it states.
    """
    tensors, metadata = read_tensors(
        path, kind=_FORMAT, schema=SCHEMA, described="one of diffhpo's universal model"
    )
    refuse_unknown(path, tensors, ("model.", "training."))
    state = {name: value.float() for name, value in named("model.", tensors).items()}
    try:
        model = build(UniversalModel, parse_json(metadata["model"]), state, path)
        step, facts = int(metadata["step"]), parse_json(metadata["facts"])
        if step < 0 or not isinstance(facts, dict):
            raise ValueError(f"step is {step}, facts a {type(facts).__name__}")
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error!r}") from error
    return UniversalCheckpoint(model, step, named("training.", tensors), facts)
