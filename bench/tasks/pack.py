# SPDX-License-Identifier: Apache-2.0
"""Packs a journal's complete tuning runs into the archive that pretraining reads.

PYTHONPATH=python:. python -m bench.tasks.pack --journal runs/tasks.jsonl --out bench/tasks/evaluations.npz
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.tasks.design import N_BROAD
from bench.tasks.evaluate import FOLDS, MAX_ROWS, RESPONSES, SEED
from bench.tasks.spaces import GUIDE, SPACES
from numpy.typing import NDArray

from diffhpo import __version__
from diffhpo.files.file_schema import WRITER
from diffhpo.hpob.suite.column import Column
from diffhpo.pretraining.own_runs import SCHEMA
from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS, STEPPED

#: Larger than any coordinate's stored value by rounding to 16 bits.
FULL = 65535
#: A fixed date, so that the same evaluations give the same bytes.
_DATE = (2026, 1, 1, 0, 0, 0)


def _kind(column: Column) -> int:
    return CATEGORICAL if column.choices else STEPPED if column.integer else CONTINUOUS


def read_runs(journal: Path) -> dict[tuple[str, str], dict[str, dict[tuple[float, ...], float]]]:
    """(learner, table) -> response -> point -> value, in the order of evaluation."""
    runs: dict[tuple[str, str], dict[str, dict[tuple[float, ...], float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for line in journal.read_bytes().split(b"\n")[:-1]:  # what follows the last line break was cut short
        entry = json.loads(line)
        learner, table, response = entry["task"].split("/")
        runs[learner, table][response][tuple(entry["x"])] = entry["y"]
    return runs


def pack(journal: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays of the archive and its index; runs that lack a part of their Sobol design are left out."""
    arrays: dict[str, NDArray[Any]] = {}
    listed = []
    for (learner, table), responses in sorted(read_runs(journal).items()):
        guide = responses[GUIDE[learner]]
        # The design may repeat a configuration of a small space; the journal has it once.
        if len(guide) < N_BROAD and len(SPACES[learner]) > 3:
            continue
        names = [name for name in RESPONSES if set(responses.get(name, ())) >= set(guide)]
        number = len(listed)
        points = list(guide)
        arrays[f"x{number}"] = np.rint(np.array(points) * FULL).astype(np.uint16)
        arrays[f"y{number}"] = np.array([[responses[n][p] for p in points] for n in names], np.float32)
        listed.append({"learner": learner, "table": table, "responses": names})
    learners = {
        learner: {"names": [c.name for c in columns], "kinds": [_kind(c) for c in columns]}
        for learner, columns in SPACES.items()
    }
    recipe = {"folds": FOLDS, "max_rows": MAX_ROWS, "seed": SEED, "guide": GUIDE}
    made_by = {"schema": SCHEMA, WRITER: __version__}
    return arrays, {**made_by, "recipe": recipe, "learners": learners, "runs": listed}


def write(path: Path, arrays: dict[str, NDArray[Any]], index: dict[str, Any]) -> None:
    """A compressed `.npz` whose bytes depend on its contents alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in {"index": np.array(json.dumps(index)), **arrays}.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _DATE), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack and say how much there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    arrays, index = pack(options.journal)
    write(options.out, arrays, index)
    rows = sum(len(array) for name, array in arrays.items() if name.startswith("x"))
    tasks = sum(len(run["responses"]) for run in index["runs"])
    size = options.out.stat().st_size
    print(f"{len(index['runs'])} runs, {rows} configurations, {tasks} tasks, {size} bytes")


if __name__ == "__main__":
    main()
