# SPDX-License-Identifier: Apache-2.0
"""Files that are either the old one or the complete new one, also after a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it over `path`.

    Raises:
        OSError: if the directory is not writable, the disk is full, or what is there is write-protected or no
            regular file, such as /dev/null; the old file stays, nothing else does.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     write_atomically(Path(directory, "a"), b"new")
        ...     os.listdir(directory)
        ['a']
    """
    path = Path(os.path.realpath(path))  # of a symbolic link, the file that it names
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "is there and is no regular file", str(path))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "is write-protected", str(path))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        # Not tempfile: its files are private, and results get the permissions of any other new file.
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
