# SPDX-License-Identifier: Apache-2.0
"""NumPy archives that others made, without pickles and without bombs."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.lib.npyio import NpzFile

from diffhpo.errors import DataError, DiffHPOError
from diffhpo.files.regular_file import open_regular

#: Most bytes of the arrays for each byte of the file, for files whose arrays take more than FREE_BYTES.
MOST_GROWTH = 200
FREE_BYTES = 64 << 20


@contextmanager
def npz_archive(path: str | os.PathLike[str], described: str) -> Iterator[NpzFile]:
    """An archive to take arrays from; what fails inside the block is the file's fault.

    Args:
        path: the `.npz` file.
        described: what it should be, for messages: "an archive of tuning runs".

    Raises:
        DataError: if the file is missing or damaged, holds pickles, unpacks to over 200 times its size, or
            the block fails on what it holds.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise ValueError("it is one array, not an archive of arrays")
            with archive:
                members: list[zipfile.ZipInfo] = archive.zip.infolist() if archive.zip is not None else []
                unpacked = sum(member.file_size for member in members)
                if unpacked > max(FREE_BYTES, MOST_GROWTH * size):
                    raise ValueError(f"its {size} bytes unpack to {unpacked}")
                yield archive
    except DiffHPOError:
        raise
    except (
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        OverflowError,
        RecursionError,
        RuntimeError,
        SyntaxError,
        SystemError,
        TypeError,
        ValueError,
        struct.error,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as fault:
        raise DataError(f"{path} is not {described}: {fault or type(fault).__name__}") from fault
