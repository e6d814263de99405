# SPDX-License-Identifier: Apache-2.0
"""The lock of one run: whom it keeps out, whom it believes, and what it leaves behind."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from diffhpo.errors import RunError
from diffhpo.files.run_lock import RunLock

pytest.importorskip("fcntl", reason="flock(2)")
HERE = socket.gethostname()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


@pytest.mark.parametrize("temporary", [False, True])
def test_one_at_a_time(path: Path, temporary: bool) -> None:
    before = descriptors()
    with RunLock(path, "the run", temporary=temporary) as lock:
        assert lock.notice == ""
        assert json.loads(path.read_text()) == {"pid": os.getpid(), "host": HERE}
        with pytest.raises(
            RunError, match=f"the run is in use by process {os.getpid()} on {HERE}; wait for it"
        ):
            RunLock(path, "the run", temporary=temporary)
        with pytest.raises(RunError, match="; name another"):
            RunLock(path, "the run", "name another", temporary=temporary)
    assert path.exists() == (not temporary)
    lock.release()  # a second time: the next owner keeps it
    with RunLock(path, "the run", temporary=temporary) as other:
        lock.release()
        assert path.exists()
        assert other.notice == ""
    assert descriptors() == before


def test_a_lock_that_is_held_while_its_record_is_unreadable_has_no_name(path: Path) -> None:
    with RunLock(path, "the run"):
        path.write_text("")
        with pytest.raises(RunError, match="the run is in use by another process"):
            RunLock(path, "the run")


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", "7", '{"pid": 3}', '{"host": "far"}', '{"pid": 3, "pid": 4, "host": "far"}', "\0"],
)
def test_a_record_that_names_nobody_is_passed_over(path: Path, record: str) -> None:
    path.write_text(record)
    with RunLock(path, "the run", elsewhere=True) as lock:
        assert lock.notice == ""


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_dead_owner_on_this_host_is_followed(path: Path, elsewhere: bool) -> None:
    path.write_text(json.dumps({"pid": 123, "host": HERE, "padding": " " * 3000}))
    with RunLock(path, "the run", elsewhere=elsewhere) as lock:
        assert lock.notice == f"took over the lock of process 123 on {HERE}, which has died"
        assert json.loads(path.read_text()) == {"pid": os.getpid(), "host": HERE}


def test_an_owner_on_another_host_is_believed_where_that_was_asked_for(path: Path) -> None:
    record = json.dumps({"pid": 123, "host": "far-away"})
    path.write_text(record)
    before = descriptors()
    with pytest.raises(RunError, match=r"process 123 on far-away; wait .*; if it ended .* delete .*lock"):
        RunLock(path, "the run", elsewhere=True)
    assert path.read_text() == record
    assert descriptors() == before
    with RunLock(path, "the run") as lock:
        assert "process 123 on far-away" in lock.notice


def test_neither_links_nor_pipes_are_locks(path: Path) -> None:
    target = path.parent / "target"
    target.write_text("what stands here stays")
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic") as refused:
        RunLock(path, "the run")
    assert refused.value.errno == errno.ELOOP
    assert target.read_text() == "what stands here stays"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="no regular file"):
        RunLock(path, "the run")


def test_a_file_that_its_owner_removed_meanwhile_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock_file, calls = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        lock_file(descriptor, how)
        calls.append(how)
        if len(calls) < 3:
            path.unlink()
        elif len(calls) == 3:  # and one that somebody else has put there
            path.unlink()
            path.write_text("")

    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        lock = RunLock(path, "the run")
    assert calls == [fcntl.LOCK_EX | fcntl.LOCK_NB] * 4
    with pytest.raises(RunError, match="in use"):
        RunLock(path, "the run")
    lock.release()
    assert descriptors() == before


@pytest.mark.parametrize("temporary", [False, True])
def test_a_record_that_cannot_be_written_gives_the_lock_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, temporary: bool
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            RunLock(path, "the run", temporary=temporary)
    assert path.exists() == (not temporary)
    assert descriptors() == before
    RunLock(path, "the run").release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_neither_holds_nor_ends_the_lock(path: Path) -> None:
    with RunLock(path, "the run", temporary=True) as lock:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                lock.release()
                RunLock(path, "the run")
            except RunError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert path.exists()
