# SPDX-License-Identifier: Apache-2.0
"""JSON files on disk: read plain or gzipped with named errors, written in one atomic step."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffhpo.errors import DataError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import read_regular_file

#: Most bytes that a gzip file may unpack to for each of its own, where that is more than FREE_BYTES; numbers
#: in JSON take three to nine.
MOST_GROWTH = 100
FREE_BYTES = 64 << 20


def find_file(path: Path) -> Path | None:
    """The file itself or, if there is none, its gzipped form `path`.gz; None if neither exists."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def read_bytes(path: Path) -> bytes:
    """Contents of a file, unpacked if its name ends in .gz.

    Raises:
        DataError: if the file cannot be read, is no regular file, is empty, or its gzip stream is damaged or
            unpacks to over a hundred times its size.
    """
    try:
        contents = read_regular_file(path)
        if path.suffix == ".gz":
            most = max(FREE_BYTES, MOST_GROWTH * len(contents))
            unpacked = io.BytesIO()
            with gzip.GzipFile(fileobj=io.BytesIO(contents)) as stream:
                while chunk := stream.read(1 << 20):
                    unpacked.write(chunk)
                    if unpacked.tell() > most:
                        raise DataError(f"{path} unpacks to more than {most} bytes; refused")
            contents = unpacked.getvalue()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a complete gzip file ({error}); fetch or copy it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not contents:
        raise DataError(f"{path} is empty; fetch or copy it again")
    return contents


def read_json(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: plain, or gzipped if the name ends in .gz.
        object_hook: as in `json.loads`; converts objects while they are parsed.

    Raises:
        DataError: if the file cannot be read, is truncated, is not JSON, names a key twice or holds no object
            at its top.
    """
    contents = read_bytes(path)
    try:
        value = parse_json(contents, object_hook, overflow=True)
    except (ValueError, MemoryError) as error:
        what = "is not valid JSON" if contents.rstrip().endswith(b"}") else "is truncated"
        raise DataError(f"{path} {what} ({error}); fetch or copy it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a JSON {type(value).__name__}; an object is needed")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is either the old one or the complete new one, even after a crash.

    The text goes to a temporary file in the same directory, is flushed to the disk and then renamed.
    Numbers keep all their digits; a name that ends in .gz is compressed.

    Raises:
        DataError: if the value is not finite JSON, or the disk is full or not writable; the old file stays.
    """
    try:
        contents = json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} was not written: {error}") from error
    if path.suffix == ".gz":
        contents = gzip.compress(contents, mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, contents)
    except OSError as error:
        raise DataError(f"{path} was not written: {reason_and_remedy(error)}") from error
