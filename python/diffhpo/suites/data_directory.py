# SPDX-License-Identifier: Apache-2.0
"""Where data of others lies, which the package does not bring, and where what is computed of it is kept."""

from __future__ import annotations

import os
from pathlib import Path

from diffhpo.errors import DataError
from diffhpo.hpob.fetch import cache_directory

#: Environment variable that names the directory.
DATA_VARIABLE = "DIFFHPO_DATA"


def data_file(*parts: str) -> Path:
    """A file or directory below the one that DIFFHPO_DATA names.

    Raises:
        DataError: if the variable is not set or there is no such file.
    """
    chosen = os.environ.get(DATA_VARIABLE)
    wanted = Path(*parts)
    if not chosen:
        raise DataError(
            f"{wanted} is data of others that the package does not bring; set the environment variable "
            f"{DATA_VARIABLE} to the directory that holds it"
        )
    path = Path(chosen).expanduser() / wanted
    if not path.exists():
        raise DataError(f"{path} is missing; {DATA_VARIABLE} must name the directory that holds {wanted}")
    return path


def computed_directory(*parts: str) -> Path:
    """A directory of the user's cache for what is computed once; it is not made here."""
    return cache_directory().parent / Path(*parts)
