# SPDX-License-Identifier: Apache-2.0
"""Disks that are full or read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

#: Bytes to which RLIMIT_FSIZE bounds a file; every file of the package is longer.
LIMIT = 64


@contextlib.contextmanager
def _file_size_limit() -> Iterator[None]:
    """No file grows beyond LIMIT: a short write, then an error, as on a disk whose last block is taken."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """The file system of `folder` without a free byte."""
    filler = folder.parent / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        assert os.statvfs(folder).f_bavail == 0
        yield
    finally:
        filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 4 MB; skips where none can be mounted."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root on Linux")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    (place / "folder").mkdir()
    yield place / "folder"
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(params=["RLIMIT_FSIZE", "tmpfs"])
def nearly_full(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[Path, Callable[[], AbstractContextManager[None]]]:
    """A folder, and a context in which its disk is full."""
    if request.param == "RLIMIT_FSIZE":
        (tmp_path / "folder").mkdir()
        return tmp_path / "folder", _file_size_limit
    folder = request.getfixturevalue("small_disk")
    return folder, lambda: _filled(folder)


@pytest.fixture
def read_only(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made: for root, who may write everywhere, a disk mounted read-only."""
    if os.geteuid() == 0:
        folder = request.getfixturevalue("small_disk")
        subprocess.run(["mount", "-o", "remount,ro", str(folder.parent)], check=True)
        yield folder
        return
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)
