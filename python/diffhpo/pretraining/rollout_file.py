# SPDX-License-Identifier: Apache-2.0
"""The file of one chunk's rollouts."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch

from diffhpo import __version__
from diffhpo.errors import DataError, RunError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.npz_archive import npz_archive
from diffhpo.pretraining.rollout import Rollouts

#: Version of its layout; a reader refuses a later one.
SCHEMA = 1


def rollouts_path(directory: str | os.PathLike[str], number: int) -> Path:
    """Where the rollouts of a chunk are."""
    return Path(directory) / f"{number}.npz"


def save_rollouts(directory: str | os.PathLike[str], number: int, rollouts: Rollouts) -> None:
    """Write the rollouts of one chunk, whole or not at all.

    Raises:
        RunError: if the file cannot be written.
    """
    path, packed = rollouts_path(directory, number), io.BytesIO()
    np.savez_compressed(
        packed,
        allow_pickle=False,
        schema=np.array(SCHEMA),
        diffhpo=np.array(__version__),
        order=rollouts.order.numpy().astype(np.int16),
        asked=rollouts.asked.numpy().astype(np.int16),
    )
    try:
        write_atomically(path, packed.getvalue())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {reason_and_remedy(error)}") from error


def load_rollouts(directory: str | os.PathLike[str], number: int) -> Rollouts:
    """Rollouts of one chunk; its functions are the source's chunk FIRST_CHUNK + number, sorted by dimension.

    Raises:
        DataError: if the file is missing or damaged, or has a later schema.
    """
    path = rollouts_path(directory, number)
    with npz_archive(path, "a file of rollouts; collect them again") as archive:
        # Files of before the field are of schema 1.
        schema, writer = (str(archive[key]) if key in archive else None for key in ("schema", WRITER))
        check_schema(schema or "1", SCHEMA, path, writer=writer, error=DataError)
        return Rollouts(
            torch.from_numpy(archive["order"].astype(np.int64)),
            torch.from_numpy(archive["asked"].astype(np.int64)),
        )
