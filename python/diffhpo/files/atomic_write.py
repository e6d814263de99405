# SPDX-License-Identifier: Apache-2.0
"""Files that are either the old one or the complete new one, also after a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path
from typing import BinaryIO

_REMEDIES = {
    errno.ENOSPC: "make room there and try again",
    errno.EDQUOT: "make room there and try again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) and try again",
    errno.ENOENT: "make its directory first, or name another",
    errno.ENOTDIR: "what should be its directory is a file: name another",
    errno.EISDIR: "name a file in it",
    errno.EBUSY: "name a file in it",
    errno.EACCES: "name a place that you can write",
    errno.EPERM: "name a place that you can write",
    errno.EROFS: "name a place that you can write",
    errno.ENAMETOOLONG: "name a shorter one",
}


def reason_and_remedy(error: OSError) -> str:
    """Why a file was not written and what to do, for the end of a message.

    Example:
        >>> reason_and_remedy(OSError(28, "No space left on device"))
        'No space left on device; make room there and try again'
    """
    remedy = _REMEDIES.get(error.errno or 0, "name another place")
    return f"{error.strerror or error}; {remedy}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it over `path`.

    Where the system has files without a name (Linux), the temporary one has none until it is complete, so
    that a process which is killed meanwhile leaves nothing.

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
    # Not tempfile: its files are private, and results get the permissions of any other new file. The name is
    # cut so that it is no longer than the 255 bytes of one that can be given.
    temporary = path.parent / f".{path.name[:50]}.{uuid.uuid4().hex}"
    try:
        if not _written_without_name(temporary, data):
            with open(temporary, "xb") as file:
                _fill(file, data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _flush_directory(path.parent)


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _written_without_name(temporary: Path, data: bytes) -> bool:
    """Write the file and name it when it is complete; False, with nothing left, where that is impossible."""
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        descriptor = os.open(temporary.parent, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except OSError:  # no such file system; anything else, the ordinary way will tell
        return False
    with open(descriptor, "wb") as file:
        _fill(file, data)
        try:
            # src_dir_fd is of no use with an absolute path, but has Python call linkat(2), which follows it.
            os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=descriptor, follow_symlinks=True)
        except OSError:  # no /proc
            return False
    return True


def _flush_directory(directory: Path) -> None:
    """Have the new name outlive a loss of power, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
