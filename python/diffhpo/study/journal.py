# SPDX-License-Identifier: Apache-2.0
"""The journal of a run directory: one checksummed JSON line per finished run, only ever appended."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from diffhpo import __version__
from diffhpo.errors import DataError, InputError, RunError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import read_regular_file, refuse_special
from diffhpo.study.grid import Cell, Grid
from diffhpo.study.lock import DirectoryLock

Record = dict[str, Any]

JOURNAL = "journal.jsonl"
GRID = "run.json"
SCHEMA = 1
#: Of the grid's file: names of some million runs.
MOST_GRID_BYTES = 16 << 20

#: Every line is `{"crc32":"xxxxxxxx","run":RECORD}`; the checksum covers the bytes of RECORD.
_HEAD, _MIDDLE, _TAIL = b'{"crc32":"', b'","run":', b"}\n"


def encode_line(record: Mapping[str, Any]) -> bytes:
    r"""One line of the journal.

    Example:
        >>> encode_line({"space": "a"})
        b'{"crc32":"90e5a94c","run":{"space":"a"}}\n'
    """
    body = json.dumps(record, separators=(",", ":"), sort_keys=True, allow_nan=True).encode()
    return _HEAD + f"{zlib.crc32(body):08x}".encode() + _MIDDLE + body + _TAIL


def decode_line(line: bytes) -> Record | None:
    """The record of a line, newline included; None if the line is torn or altered."""
    start = len(_HEAD) + 8 + len(_MIDDLE)
    if not (line.startswith(_HEAD) and line.endswith(_TAIL) and line[len(_HEAD) + 8 : start] == _MIDDLE):
        return None
    body = line[start : -len(_TAIL)]
    if line[len(_HEAD) : len(_HEAD) + 8] != f"{zlib.crc32(body):08x}".encode():
        return None
    try:
        record = parse_json(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def is_run(record: Record) -> bool:
    """Whether a record has what tells runs apart and the failed ones from the others."""
    return "error" in record and all(isinstance(record.get(name), str) for name in Cell._fields)


def read_journal(path: Path, sound: Callable[[Record], bool] = is_run) -> tuple[list[Record], int]:
    """The records of a journal, and the number of bytes that hold them.

    Args:
        path: of the journal; one that is not there has no records.
        sound: whether a record is of the journal's kind; finished runs of a grid without it.

    A last line that does not stand (the writer was killed, or the machine lost power, while it was written)
    is dropped: its run will be done again.

    Raises:
        DataError: naming the first line that does not stand and is followed by others, or is the only one and
            does not begin as a journal's do: the file is then something else, and is left alone.
    """
    try:
        lines = read_regular_file(path).splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        record = decode_line(line)
        if record is None or not sound(record):
            begun = number > 1 or _HEAD.startswith(line[: len(_HEAD)]) or not line.strip(b"\0")
            if number == len(lines) and begun:
                break
            raise DataError(
                f"{path}, line {number}: the record is damaged (its checksum does not fit) or of another "
                "kind. Delete that line to have its run done again"
            )
        records.append(record)
    return records, sum(map(len, lines[: len(records)]))


def cell_of(record: Mapping[str, Any]) -> Cell:
    """The cell of the grid that a record belongs to."""
    return Cell(*(str(record[name]) for name in Cell._fields))


def read_grid(directory: Path) -> Grid:
    """The grid of a run directory.

    Raises:
        RunError: if the directory is not one.
        DataError: if its `run.json` is damaged or has a later schema.
    """
    path = Path(directory) / GRID
    if not path.is_file():
        raise RunError(f"{directory} is not a run directory: it has no {GRID}; `diffhpo bench run` makes one")
    try:
        stored = parse_json(read_regular_file(path, MOST_GRID_BYTES))
        check_schema(stored["schema"], SCHEMA, path, writer=stored.get(WRITER), error=DataError)
        return Grid.from_json(stored["grid"])
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise DataError(f"{path} is damaged: {str(error)[:1000]}") from error


def read_runs(directory: Path) -> tuple[Grid, dict[Cell, Record]]:
    """The grid of a run directory and the last record of each of its runs."""
    grid = read_grid(directory)
    records, _ = read_journal(Path(directory) / JOURNAL)
    return grid, {cell_of(record): record for record in records}


class Journal:
    """Exclusive write access to a run directory.

    Opening makes the directory, takes its lock, checks that the grid may be run in it and cuts off a torn
    last record. `append` returns once the record is on the disk.

    Args:
        directory: the run directory.
        grid: what is to be run; the same as before, or with tasks, seeds or methods added.

    Attributes:
        grid: the grid of the directory, which grows by `grid`.
        runs: the finished runs; a run that was repeated counts with its last record.
        notices: sentences for the user about what was repaired.

    Raises:
        RunError: if the directory is in use, cannot be written, or holds another grid.
        DataError: if a file of the directory is damaged.
    """

    def __init__(self, directory: Path | str, grid: Grid) -> None:
        self.directory = Path(directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make {directory}: {error.strerror}; choose a writable --out") from error
        self._lock = DirectoryLock(self.directory)
        self._descriptor: int | None = None
        try:
            self.notices = [self._lock.notice] if self._lock.notice else []
            self._open_grid(grid)
            self._open_journal()
        except BaseException:
            self.close()
            raise

    def _open_grid(self, wanted: Grid) -> None:
        path = self.directory / GRID
        if path.exists():
            stored = read_grid(self.directory)
            self.grid = stored.resumed_by(wanted)
            if self.grid == stored:
                return
        elif (self.directory / JOURNAL).exists():
            raise DataError(f"{self.directory} has a {JOURNAL} but no {GRID}; use another --out")
        else:
            self.grid = wanted
        content = {"schema": SCHEMA, WRITER: __version__, "grid": self.grid.to_json()}
        write_text(path, json.dumps(content, indent=1) + "\n")

    def _open_journal(self) -> None:
        path = self.directory / JOURNAL
        records, size = read_journal(path)
        self.runs = {cell_of(record): record for record in records}
        try:
            # Not through a link: a directory of others could name any file of the user's.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o644)
            refuse_special(self._descriptor, path)
            if os.fstat(self._descriptor).st_size > size:
                os.ftruncate(self._descriptor, size)
                self.notices.append(f"dropped the torn last record of {path}; its run is done again")
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from error

    def append(self, record: Record) -> None:
        """Adds one finished run: a write(2) of its whole line, then fsync(2).

        Raises:
            RunError: if the disk refuses it; the journal then stands as it was before.
        """
        if self._descriptor is None:
            raise RunError(f"{self.directory} is closed")
        line = encode_line(record)
        size = os.fstat(self._descriptor).st_size
        try:
            while line:  # once; a disk that is nearly full takes a part, and the next write tells the reason
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except BaseException as error:
            # If even this fails, the next opener drops the torn line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            if not isinstance(error, OSError):
                raise
            raise RunError(
                f"cannot write {self.directory / JOURNAL}: {error.strerror}. The {len(self.runs)} finished "
                "runs are kept: make room and give the same command again"
            ) from error
        self.runs[cell_of(record)] = record

    def close(self) -> None:
        """Gives the directory back; a second call does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)
        self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_text(path: Path, text: str) -> None:
    """Writes a whole file of UTF-8 text or leaves the old one.

    Raises:
        RunError: if the directory cannot be written or the disk is full.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {reason_and_remedy(error)}") from error
