# SPDX-License-Identifier: Apache-2.0
"""One writer per run."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

from diffhpo.errors import RunError
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import refuse_special

#: Bytes read from a lock file; its owner's record has fewer than 200.
_OWNER_BYTES = 4096


class RunLock:
    """Holds a lock file for this process until `release`, or the process's death.

    The file is locked with flock(2), which the kernel undoes when the owner dies, and it names its owner (pid
    and host) for the message that a second process gets. A child of fork(2) does not hold it.

    Args:
        path: of the lock file; it is made if it is missing.
        of: what it guards, for messages.
        instead: what a second process may do, for messages.
        elsewhere: whether an owner on another host is believed although the file is free. It protects what
            lies where flock does not reach other hosts (some network file systems), and has to be deleted by
            hand when that owner died.
        temporary: whether the file is removed when the lock is given back.

    Attributes:
        notice: a sentence for the user if the lock of a dead process was taken over, else "".

    Raises:
        RunError: if another process holds the lock, or the system has no flock.
        OSError: if the file cannot be written or locked.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory, RunLock(Path(directory, "lock"), "it") as lock:
        ...     lock.notice
        ''
    """

    def __init__(
        self,
        path: Path,
        of: str,
        instead: str = "wait for it, or use another",
        *,
        elsewhere: bool = False,
        temporary: bool = False,
    ) -> None:
        self.path = path
        self.notice = ""
        self._of, self._instead, self._elsewhere, self._temporary = of, instead, elsewhere, temporary
        self._descriptor: int | None = None
        try:
            import fcntl
        except ImportError as error:  # pragma: no cover  (not POSIX)
            raise RunError(f"{of} needs a POSIX system: its lock is made with flock(2)") from error
        while self._descriptor is None:
            # Not through a link: the file that it names would be emptied.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            try:
                try:
                    refuse_special(descriptor, path)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RunError(self._in_use(_read_owner(descriptor))) from None
                if not _is_at(descriptor, path):  # removed by its owner between our two calls
                    os.close(descriptor)
                    continue
                try:
                    self._take(descriptor)
                except OSError:
                    self._remove()
                    raise
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        _held.add(self)

    def _take(self, descriptor: int) -> None:
        """Names this process as the owner, after a look at the one named before."""
        owner, here = _read_owner(descriptor), socket.gethostname()
        if owner:
            # flock is ours, so an owner on this host is dead; one on another host may not be.
            if owner.get("host") != here and self._elsewhere:
                raise RunError(self._in_use(owner) + f"; if it ended without cleaning up, delete {self.path}")
            self.notice = (
                f"took over the lock of process {owner.get('pid')} on {owner.get('host')}, which has died"
            )
        record = json.dumps({"pid": os.getpid(), "host": here}).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, record, 0)

    def _in_use(self, owner: dict[str, Any]) -> str:
        named = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
        return f"{self._of} is in use by {named}; {self._instead}"

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            _held.discard(self)
            try:
                os.ftruncate(descriptor, 0)
                self._remove()
            finally:
                os.close(descriptor)

    def _remove(self) -> None:
        if self._temporary:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """A forked child has the descriptor too, and would keep the lock when its parent has died."""
    for lock in list(_held):
        if lock._descriptor is not None:
            os.close(lock._descriptor)
            lock._descriptor = None
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one of a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read_owner(descriptor: int) -> dict[str, Any]:
    """The owner that a lock file names; {} if none, or if its record was cut short."""
    try:
        owner = parse_json(os.pread(descriptor, _OWNER_BYTES, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) and {"pid", "host"} <= set(owner) else {}
