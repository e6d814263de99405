# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import resource
import socket
import stat
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.other_process import started

from diffhpo.errors import DataError, RunError
from diffhpo.study.grid import Cell, Grid
from diffhpo.study.journal import (
    Journal,
    Record,
    cell_of,
    decode_line,
    encode_line,
    read_grid,
    read_journal,
    read_runs,
    write_text,
)
from diffhpo.study.lock import DirectoryLock

GRID = Grid("embedded", tasks=(("a", "t1"),), seeds=("0", "1", "2"), methods=("random",), trials=3)


def record_of(cell: Cell, value: float = 0.1) -> Record:
    return {**cell._asdict(), "incumbents": [value, 1 / 3, 1.0], "error": None, "note": "ünï\ncode"}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A run directory with three finished runs."""
    with Journal(tmp_path / "run", GRID) as journal:
        for cell in GRID.cells():
            journal.append(record_of(cell))
    return tmp_path / "run"


def test_what_is_appended_is_read_back(filled: Path) -> None:
    grid, runs = read_runs(filled)
    assert grid == GRID
    assert runs == {cell: record_of(cell) for cell in GRID.cells()}


def test_every_line_is_json(filled: Path) -> None:
    lines = (filled / "journal.jsonl").read_text().splitlines()
    assert [cell_of(json.loads(line)["run"]) for line in lines] == GRID.cells()


def test_any_flipped_bit_of_a_line_is_found() -> None:
    line = encode_line(record_of(GRID.cells()[0]))
    assert decode_line(line) is not None
    for position in range(len(line)):
        for bit in range(8):
            damaged = bytearray(line)
            damaged[position] ^= 1 << bit
            assert decode_line(bytes(damaged)) is None, (position, bit)


def test_the_order_of_a_record_does_not_show_in_its_line_and_nan_stands() -> None:
    assert encode_line({"b": 1, "a": float("nan")}) == encode_line({"a": float("nan"), "b": 1})
    back = decode_line(encode_line({"a": float("nan")}))
    assert back is not None
    assert back["a"] != back["a"]


def test_what_is_no_record_is_none_though_its_checksum_fits() -> None:
    body = b"[1]"
    line = b'{"crc32":"%08x","run":%s}\n' % (zlib.crc32(body), body)
    assert decode_line(line) is None


@pytest.mark.fault(29)
def test_every_truncation_leaves_the_records_before_it(filled: Path) -> None:
    path = filled / "journal.jsonl"
    content = path.read_bytes()
    ends = [0, *(i + 1 for i, byte in enumerate(content) if byte == ord("\n"))]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        records, valid = read_journal(path)
        assert valid == max(end for end in ends if end <= size)
        assert [cell_of(r) for r in records] == GRID.cells()[: ends.index(valid)]


@pytest.mark.parametrize("tail", [b'{"crc32":"', b"\0" * 100, b"garbage\n", encode_line({"a": 1})[:-1]])
def test_a_torn_last_line_is_cut_off_and_work_goes_on(filled: Path, tail: bytes) -> None:
    path = filled / "journal.jsonl"
    content = path.read_bytes()
    path.write_bytes(content + tail)
    grown = replace(GRID, seeds=("0", "1", "2", "3"))
    with Journal(filled, grown) as journal:
        assert len(journal.runs) == 3
        assert any("torn" in notice for notice in journal.notices)
        journal.append(record_of(grown.cells()[3]))
    assert path.read_bytes() == content + encode_line(record_of(grown.cells()[3]))


def test_a_damaged_line_in_the_middle_is_named(filled: Path) -> None:
    path = filled / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"0.1", b"0.2") + lines[2])
    with pytest.raises(DataError, match=r"journal\.jsonl, line 2.*[Dd]elete that line"):
        read_runs(filled)
    path.write_bytes(lines[0] + lines[2])  # the remedy that the message gives
    assert len(read_runs(filled)[1]) == 2


def test_a_repeated_run_counts_with_its_last_record(filled: Path) -> None:
    cell = GRID.cells()[1]
    with Journal(filled, GRID) as journal:
        journal.append(record_of(cell, value=0.9))
    assert read_runs(filled)[1][cell]["incumbents"][0] == 0.9


def test_a_second_writer_is_told_the_owner(filled: Path) -> None:
    with (
        Journal(filled, GRID),
        pytest.raises(RunError, match=f"process {os.getpid()} on {socket.gethostname()}"),
    ):
        Journal(filled, GRID)
    with Journal(filled, GRID) as journal:  # and the lock is given back
        assert journal.notices == []


HOLDER = """
import sys, time
from pathlib import Path
from diffhpo.study.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(filled: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `filled`."""
    process = started("-c", HOLDER, str(filled), says="held")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.fault(31)
def test_the_lock_excludes_other_processes_until_they_die(
    filled: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunError, match=f"process {holder.pid} on"):
        Journal(filled, GRID)
    holder.kill()
    holder.wait()
    with Journal(filled, GRID) as journal:
        assert journal.notices == [
            f"took over the lock of process {holder.pid} on {socket.gethostname()}, which has died"
        ]


def test_an_owner_on_another_host_is_believed(filled: Path) -> None:
    (filled / "lock").write_text(json.dumps({"pid": 1, "host": "far-away"}))
    with pytest.raises(RunError, match=r"process 1 on far-away.*delete .*lock"):
        Journal(filled, GRID)


def test_another_grid_is_refused_and_nothing_changes(filled: Path) -> None:
    before = {path.name: path.read_bytes() for path in filled.iterdir()}
    with pytest.raises(RunError, match="trials is 3 in the directory and 4"):
        Journal(filled, replace(GRID, trials=4))
    assert {path.name: path.read_bytes() for path in filled.iterdir()} == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1}', '{"schema": 1, "grid": {}}', "7"])
def test_a_damaged_grid_is_named(filled: Path, content: str) -> None:
    (filled / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        read_runs(filled)


def test_a_grid_of_another_version_is_named(filled: Path) -> None:
    (filled / "run.json").write_text('{"schema": 99, "grid": {}}')
    with pytest.raises(DataError, match=r"schema 99.*up to schema 1.*pip install --upgrade"):
        read_runs(filled)


def test_a_directory_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run directory.*bench run"):
        read_runs(tmp_path)


def test_a_directory_grows_by_what_is_added_and_is_else_left_alone(filled: Path) -> None:
    path = filled / "run.json"
    before = path.stat().st_ino
    with Journal(filled, GRID) as journal:
        assert journal.grid == GRID
    assert path.stat().st_ino == before
    grown = replace(GRID, seeds=("0", "1", "2", "3"))
    with Journal(filled, grown) as journal:
        assert journal.grid == grown
    assert read_grid(filled) == grown


def test_directories_above_are_made_and_files_have_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Journal(tmp_path / "above" / "run", GRID):
            pass
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "above" / "run").iterdir()}
    assert (modes["journal.jsonl"], modes["lock"]) == (0o644, 0o644)


def test_a_journal_without_its_grid_is_named(filled: Path) -> None:
    (filled / "run.json").unlink()
    with pytest.raises(DataError, match=r"has a journal\.jsonl but no run\.json; use another --out"):
        Journal(filled, GRID)


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*journal\.jsonl: Is a directory"):
        read_journal(tmp_path / "journal.jsonl")
    (tmp_path / "journal.jsonl").rmdir()
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "gone" / "journal.jsonl")
    with pytest.raises(RunError, match=r"cannot write .*journal\.jsonl: Too many levels of symbolic links"):
        Journal(tmp_path, GRID)
    with DirectoryLock(tmp_path):  # the journal that could not be opened gave its lock back
        pass
    with pytest.raises(RunError, match=r"cannot write .*text: No such file"):
        write_text(tmp_path / "gone" / "text", "a")


def test_a_closed_journal_takes_nothing(filled: Path) -> None:
    content = (filled / "journal.jsonl").read_bytes()
    journal = Journal(filled, GRID)
    journal.close()
    journal.close()
    with pytest.raises(RunError, match=r"run is closed"):
        journal.append(record_of(GRID.cells()[0]))
    assert (filled / "journal.jsonl").read_bytes() == content


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def unsupported(_descriptor: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    descriptors = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", unsupported)
        with pytest.raises(RunError, match=r"cannot lock .*lock: No locks available; choose a local --out"):
            DirectoryLock(tmp_path)

    def full(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(RunError, match=r"cannot write .*lock: No space left on device"):
            DirectoryLock(tmp_path)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*lock: Is a directory; choose a writable --out"):
        DirectoryLock(tmp_path)
    (tmp_path / "lock").rmdir()
    with DirectoryLock(tmp_path), pytest.raises(RunError, match="in use"):
        DirectoryLock(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("owner", ["", "{", "7", "[]", '{"pid": 1}', '{"host": "far-away"}', "\xff"])
def test_a_torn_owner_is_no_owner(tmp_path: Path, owner: str) -> None:
    (tmp_path / "lock").write_text(owner)
    with DirectoryLock(tmp_path) as lock:
        assert lock.notice == ""
        assert json.loads((tmp_path / "lock").read_text()) == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
    assert (tmp_path / "lock").read_text() == ""


def test_a_path_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose a writable --out"):
        Journal(tmp_path / "file", GRID)
    with pytest.raises(RunError, match="choose a writable --out"):
        Journal(tmp_path / "file" / "below", GRID)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_directory_is_named(filled: Path) -> None:
    filled.chmod(0o555)
    try:
        with pytest.raises(RunError, match="writable"):
            Journal(filled.parent / "run" / "below", GRID)
    finally:
        filled.chmod(0o755)


@pytest.mark.fault(30)
def test_a_full_disk_keeps_finished_work(filled: Path) -> None:
    """The limit on the file's size stands for the end of the disk: both give a short write, then an error."""
    grown = replace(GRID, seeds=("0", "1", "2", "3"))
    new = record_of(grown.cells()[3])
    content = (filled / "journal.jsonl").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(filled, grown) as journal:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 20, before[1]))
            with pytest.raises(RunError, match=r"3 finished runs are kept.*same command again"):
                journal.append(new)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (filled / "journal.jsonl").read_bytes() == content
        journal.append(new)
    assert len(read_runs(filled)[1]) == 4
