# SPDX-License-Identifier: Apache-2.0
"""One writer per run directory."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from diffhpo.errors import RunError
from diffhpo.json_text import parse_json
from diffhpo.regular_file import refuse_special

#: Bytes read from a lock file; its owner's record has fewer than 200.
_OWNER_BYTES = 4096


class DirectoryLock:
    """Holds `directory/lock` for this process until `release`, or the process's death.

    The file is locked with flock(2), which the kernel undoes when the owner dies, and it names its owner (pid
    and host) for the message that a second process gets. Where flock does not reach other hosts (some network
    file systems) the named owner still protects the directory.

    Attributes:
        notice: a sentence for the user if the lock of a dead process was taken over, else "".

    Raises:
        RunError: if another process holds the lock or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory, DirectoryLock(Path(directory)) as lock:
        ...     lock.notice
        ''
    """

    def __init__(self, directory: Path) -> None:
        self.path = Path(directory) / "lock"
        self.notice = ""
        self._descriptor: int | None = None
        try:
            import fcntl
        except ImportError as error:  # pragma: no cover  (not POSIX)
            raise RunError("a run directory needs a POSIX system: its lock is made with flock(2)") from error
        try:
            # Not through a link: the file that it names would be emptied.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}; choose a writable --out") from error
        try:
            try:
                refuse_special(descriptor, self.path)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(self._in_use(_read_owner(descriptor))) from None
            except OSError as error:
                raise RunError(f"cannot lock {self.path}: {error.strerror}; choose a local --out") from error
            self._take(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _take(self, descriptor: int) -> None:
        """Names this process as the owner, after a look at the one named before."""
        owner, here = _read_owner(descriptor), socket.gethostname()
        if owner:
            # flock is ours, so an owner on this host is dead; one on another host may not be.
            if owner.get("host") != here:
                raise RunError(self._in_use(owner) + f"; if it ended without cleaning up, delete {self.path}")
            self.notice = f"took over the lock of process {owner.get('pid')} on {here}, which has died"
        record = json.dumps({"pid": os.getpid(), "host": here}).encode()
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, record, 0)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}") from error

    def _in_use(self, owner: dict[str, Any]) -> str:
        named = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
        return f"{self.path.parent} is in use by {named}; wait for it, or use another --out"

    def release(self) -> None:
        """Gives the directory back; a second call does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.ftruncate(descriptor, 0)  # the file stays: removing it would race with a second opener
            finally:
                os.close(descriptor)

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_owner(descriptor: int) -> dict[str, Any]:
    """The owner that a lock file names; {} if none, or if its record was cut short."""
    try:
        owner = parse_json(os.pread(descriptor, _OWNER_BYTES, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) and {"pid", "host"} <= set(owner) else {}
