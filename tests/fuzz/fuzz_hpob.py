# SPDX-License-Identifier: Apache-2.0
"""A directory in HPO-B's format, and results files: three lines of JSON, one for each file."""

import contextlib
import gzip

from diffhpo.errors import DiffHPOError
from diffhpo.hpob import Benchmark
from diffhpo.hpob.results import read_results

TABLES = b'{"s": {"t": {"X": [[0], [0.2], [0.4], [0.6], [0.8], [1]], "y": [[1], [2], [3], [4], [5], [6]]}}}'
INITIAL = b'{"s": {"t": {"test0": [0, 1, 2, 3, 4]}}}'
RANGES = b'{"surrogate-s-t": {"y_min": 0.5, "y_max": 7}}'


def seeds():
    yield b"\n".join((TABLES, INITIAL, RANGES))
    yield b'\n\n\n{"s": {"t": {"test0": [0.5, 0.75, 1]}}}'
    yield b"\n\n\n\n" + gzip.compress(TABLES, mtime=0)


def one_input(data, folder):
    tables, initial, ranges, results, packed = (data.split(b"\n", 4) + [b""] * 4)[:5]
    for place, content in {
        "hpob-data/meta-test-dataset.json": tables,
        "hpob-data/bo-initializations.json": initial,
        "saved-surrogates/summary-stats.json": ranges,
        "results.json": results,
        "packed/meta-test-dataset.json.gz": packed,
        "packed/bo-initializations.json": INITIAL,
    }.items():
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(content)
    for use in (
        lambda: _use(folder),
        lambda: _use(folder / "packed"),
        lambda: read_results(folder / "results.json"),
    ):
        with contextlib.suppress(DiffHPOError):
            use()


def _use(root):
    benchmark = Benchmark(root)
    for space in benchmark.spaces()[:3]:
        for name in benchmark.tasks(space)[:3]:
            task = benchmark.task(space, name)
            assert task.x.ndim == 2
            for seed in task.seeds()[:3]:
                assert len(task.initial(seed)) == 5
            assert task.y_min <= task.y_max
