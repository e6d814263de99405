# SPDX-License-Identifier: Apache-2.0
"""Unpack a zip archive that others made: nothing leaves the target directory, nothing fills the disk."""

from __future__ import annotations

import errno
import hashlib
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from diffhpo.errors import DataError
from diffhpo.files.regular_file import open_regular

#: HPO-B's larger archive has 261 MB of JSON numbers, which unpack to a few times that.
MAX_BYTES = 8 << 30
MAX_FILES = 10_000

_CHUNK = 1 << 20


def unpack(
    archive: Path, target: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> dict[str, tuple[int, str]]:
    """Unpack every regular file of a zip archive.

    Args:
        archive: the zip file.
        target: an empty directory.
        max_bytes: most bytes to write in all, whatever the archive says of itself.
        max_files: most members to accept.

    Returns:
        {path inside the target: (bytes, sha256)}.

    Raises:
        DataError: if the archive is missing, damaged, encrypted, not compressed by deflate, over
            a limit, or holds a link, a special file, or a path that is absolute, leads out or comes twice.
    """
    files: dict[str, tuple[int, str]] = {}
    left = max_bytes
    try:
        stream = open_regular(archive)
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror}") from error
    try:
        with stream, zipfile.ZipFile(stream) as source:
            members = source.infolist()
            if len(members) > max_files:
                raise DataError(f"{archive} has {len(members)} members; at most {max_files} are accepted")
            if (stated := sum(member.file_size for member in members)) > max_bytes:
                raise DataError(f"{archive} unpacks to {stated} bytes, more than {max_bytes} bytes; refused")
            for member in members:
                path = target / _safe_path(member, archive)
                if member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                digest, size = hashlib.sha256(), 0
                with source.open(member) as packed, open(path, "xb") as out:
                    while chunk := packed.read(_CHUNK):
                        size += len(chunk)
                        if size > left:
                            raise DataError(f"{archive} unpacks to more than {max_bytes} bytes; refused")
                        digest.update(chunk)
                        out.write(chunk)
                left -= size
                files[path.relative_to(target).as_posix()] = (size, digest.hexdigest())
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{archive} holds {error.filename} twice; refused") from error
    except OSError as error:
        # The archive names a place that is not in it; all else is the target's fault.
        if error.errno != errno.EINVAL:
            raise
        raise DataError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again") from error
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError),
        # A name or a field that is not what the format says.
        *(ValueError, LookupError, OverflowError, struct.error),
    ) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again") from error
    return files


def _safe_path(member: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    # Others may ask for gigabytes to unpack a few bytes: LZMA's dictionary is as large as it says.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{archive} holds {member.filename!r}, compressed by another way than deflate; refused"
        )
    if any(len(part.encode(errors="replace")) > 255 for part in path.parts):
        raise DataError(f"{archive} holds a name of over 255 bytes, {member.filename[:80]!r}; refused")
    # The upper half of external_attr is the Unix mode, where the archive was made on Unix; 0 elsewhere.
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"{archive} holds {member.filename!r}, a link or special file; refused")
    if path.is_absolute() or ".." in path.parts or not path.parts or any(c in member.filename for c in "\\:"):
        raise DataError(f"{archive} holds {member.filename!r}, which leads out of its directory; refused")
    return path
