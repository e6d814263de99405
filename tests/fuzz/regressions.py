# SPDX-License-Identifier: Apache-2.0
"""Inputs that a fuzz target once failed on, (target, input); `test_fuzz_targets.py` gives them again."""

import fuzz_npz

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
    # A study of no objective: RuntimeError of Optuna.
    ("study_file", b'{"op_code":0,"worker_id":"a","study_name":"a","directions":[]}\n'),
    # An offset of the central directory before the file's beginning: OSError of the file's seek.
    (
        "archive",
        b"PK\x05\x06" + b"\0" * 4 + b"\x01\0\x01\0" + b"\x2e\0\0\0" + b"\xff\xff\0\0" + b"\0\0",
    ),
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
