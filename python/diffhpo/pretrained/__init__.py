# SPDX-License-Identifier: Apache-2.0
"""Weights that this project trained; ModelCard.md beside them says on what and how well they do."""

from __future__ import annotations

import functools
from pathlib import Path

from diffhpo.errors import CheckpointError
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.model.universal.model import UniversalModel

_HERE = Path(__file__).resolve().parent


@functools.cache
def pretrained_model(name: str = "universal") -> UniversalModel:
    """The universal model of the package, in evaluation mode; one object a process, not to be changed.

    Args:
        name: of the weights.

    Raises:
        CheckpointError: if the package has no such weights, or they are damaged.

    Example:
        >>> pretrained_model().parameter_count() > 0
        True
    """
    path = _HERE / f"{name}.safetensors"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in _HERE.glob("*.safetensors"))) or "none"
        raise CheckpointError(f"{path} is not there; weights in this installation: {known}")
    model = load_universal(path).model
    model.requires_grad_(False)
    return model.eval()
