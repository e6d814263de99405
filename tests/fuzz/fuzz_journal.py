# SPDX-License-Identifier: Apache-2.0
"""Run directories, up to the numbers of their report.

The first line of an input is run.json; a further one that begins with "{" is a record, whose checksum is
computed, any other is a raw line of the journal.
"""

import json
import zlib

from diffhpo.study.grid import Grid
from diffhpo.study.journal import GRID, JOURNAL, Journal
from diffhpo.study.report import build_report

PLAN = Grid("embedded", tasks=(("s", "t"), ("s", "u")), seeds=("test0",), methods=("random", "gp"), trials=2)


def seeds():
    records = [
        {
            **cell._asdict(),
            "error": None,
            "incumbents": [0.1, 0.5, 0.7 if cell.method == "gp" else 0.6],
            "suggest_seconds": [0.1, 0.2],
            "seconds": 1.5,
            "data": "0123",
            "warnings": {"InputWarning: a": 2},
            "versions": {"python": "3.11"},
            "machine": {"cores": "2"},
        }
        for cell in PLAN.cells()
    ]
    failed = {**records[-1], "error": {"type": "ValueError", "message": "m", "traceback": ""}}
    for runs in (records, [*records[:-1], failed], records[:1]):
        yield b"\n".join(
            json.dumps(value).encode() for value in ({"schema": 1, "grid": PLAN.to_json()}, *runs)
        )


def one_input(data, folder):
    grid, *lines = data.split(b"\n")
    (folder / GRID).write_bytes(grid)
    (folder / JOURNAL).write_bytes(
        b"".join(
            b'{"crc32":"%08x","run":%b}\n' % (zlib.crc32(line), line)
            if line.startswith(b"{")
            else line + b"\n"
            for line in lines
        )
    )
    report = build_report([folder], allow_missing=True)
    json.dumps([report.to_json(), report.timing()], allow_nan=False)
    with Journal(folder, PLAN):
        pass
