# SPDX-License-Identifier: Apache-2.0
"""Reading files that others made: regular ones alone, once, and no more than a stated size."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


def read_regular_file(path: str | os.PathLike[str], most_bytes: int | None = None) -> bytes:
    """The contents of a regular file, through symbolic links.

    A pipe or a device has no end, or none that comes by itself; they are refused before anything is read.

    Args:
        path: the file.
        most_bytes: a larger file is not read.

    Raises:
        OSError: if the file is missing, unreadable, too large or no regular file; `strerror` says which.

    Example:
        >>> read_regular_file("/dev/zero")
        Traceback (most recent call last):
        ...
        OSError: [Errno 22] it is no regular file: '/dev/zero'
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most_bytes is not None and size > most_bytes:
            raise OSError(errno.EFBIG, f"it has {size} bytes; at most {most_bytes} are read", os.fspath(path))
        try:
            # To the end that it has now: a file that grows meanwhile is not followed.
            return file.read(size)
        except MemoryError:
            raise OSError(errno.ENOMEM, f"its {size} bytes do not fit the memory", os.fspath(path)) from None


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file opened for reading, through symbolic links.

    Raises:
        OSError: if it is missing, unreadable or no regular file.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits for its writer.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    try:
        refuse_special(descriptor, path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def refuse_special(descriptor: int, path: str | os.PathLike[str]) -> None:
    """Raise an OSError unless an open file is a regular one."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
