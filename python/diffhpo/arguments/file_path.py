# SPDX-License-Identifier: Apache-2.0
"""The check of arguments that name a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from diffhpo.errors import InputError


def file_path(path: Any) -> Path:
    """The path as a Path.

    Raises:
        InputError: on anything but text, bytes or a path object, such as an open file or its number.

    Example:
        >>> str(file_path(b"run.safetensors"))
        'run.safetensors'
    """
    try:
        return Path(os.fsdecode(path))
    except TypeError:
        raise InputError(f"path is {path!r}; a str or a pathlib.Path is needed") from None
