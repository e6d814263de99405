# SPDX-License-Identifier: Apache-2.0
"""One writer per run directory."""

from __future__ import annotations

import errno
from pathlib import Path

from diffhpo.errors import RunError
from diffhpo.files.run_lock import RunLock

#: What file systems without locks answer.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class DirectoryLock(RunLock):
    """Holds `directory/lock` for this process until `release`, or the process's death; see `RunLock`.

    Raises:
        RunError: if another process holds the lock or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory, DirectoryLock(Path(directory)) as lock:
        ...     lock.notice
        ''
    """

    def __init__(self, directory: Path) -> None:
        path = Path(directory) / "lock"
        try:
            super().__init__(path, str(directory), "wait for it, or use another --out", elsewhere=True)
        except OSError as error:
            doing, kind = ("lock", "local") if error.errno in _NO_LOCKS else ("write", "writable")
            raise RunError(f"cannot {doing} {path}: {error.strerror}; choose a {kind} --out") from error
