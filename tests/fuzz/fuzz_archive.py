# SPDX-License-Identifier: Apache-2.0
"""Zip archives as `data fetch` unpacks them."""

import io
import os
import shutil
import zipfile

from diffhpo.hpob.archive import unpack


def seeds():
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as out:
            out.writestr("d/a.json", b"123" * 20)
            out.writestr("d/e/", b"")
            out.writestr("d/e/b.json", b"")
        yield buffer.getvalue()


def one_input(data, folder):
    path, target = folder / "a.zip", folder / "in" / "target"
    path.write_bytes(data)
    shutil.rmtree(folder / "in", ignore_errors=True)
    target.mkdir(parents=True)
    try:
        files = unpack(path, target, max_bytes=100_000, max_files=100)
        assert sum(size for size, _ in files.values()) <= 100_000
    finally:
        assert os.listdir(folder / "in") == ["target"]
        assert sorted(os.listdir(folder)) == ["a.zip", "in"]
        assert not any(path.is_symlink() for path in target.rglob("*"))
