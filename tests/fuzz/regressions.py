# SPDX-License-Identifier: Apache-2.0
"""Inputs that a fuzz target once failed on, (target, input); `test_fuzz_targets.py` gives them again."""

import re
import struct

import fuzz_archive
import fuzz_npz
import fuzz_study_file


def _with_directory_at(archive: bytes, shift: int) -> bytes:
    """A zip archive whose end states another offset of its central directory (bytes 16 to 20 of 22)."""
    offset = struct.unpack("<I", archive[-6:-2])[0]
    return archive[:-6] + struct.pack("<I", offset + shift) + archive[-2:]


FOUND: list[tuple[str, bytes]] = [
    # A record without "error": KeyError.
    (
        "journal",
        b'{"schema": 1, "grid": {"suite": "embedded", "tasks": [["s", "t"]], "seeds": ["test0"], '
        b'"methods": ["gp"], "split": "test", "protocol": "continuous", "corrected": false, "trials": 2, '
        b'"batch": 1, "shard": "1/1"}}\n'
        b'{"space": "s", "task": "t", "seed": "test0", "method": "gp", "incumbents": [0.1, 0.5, 0.7], '
        b'"suggest_seconds": [0.1, 0.2], "seconds": 1, "data": "0", "warnings": {}, "versions": {}, '
        b'"machine": {}}',
    ),
    # A trial of two values in a study of one objective: RuntimeError of Optuna.
    (
        "study_file",
        re.sub(rb'("values": ?\[[^]]+)\]', rb"\1,1.0]", next(fuzz_study_file.seeds()), count=1),
    ),
    # A central directory that says it stands later than it does: OSError of a seek before the beginning.
    ("archive", _with_directory_at(next(fuzz_archive.seeds()), 50)),
    # A header of an array whose bracket stays open: tokenize.TokenError, an exception of its own.
    (
        "npz",
        b"\x93NUMPY\x01\0v\0"
        + b"{'descr': '|i1', 'fortran_order': False, 'shape': (1,), }".ljust(117)
        + b"[\n",
    ),
    # A text of a character beyond Unicode's last: SystemError of numpy.
    ("npz", next(fuzz_npz.seeds()).replace(b"a\0\0\0", b"\xff" * 4, 1)),
]
