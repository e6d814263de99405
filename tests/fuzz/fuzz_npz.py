# SPDX-License-Identifier: Apache-2.0
"""NumPy archives: an input is a sequence of arrays, which get the names that a reader asks for in turn."""

import contextlib
import io
import json
import zipfile

import numpy as np

from diffhpo.errors import DiffHPOError
from diffhpo.pretraining.own_runs import load_own_runs
from diffhpo.pretraining.rollout_file import load_rollouts
from diffhpo.pretraining.task_bank import TaskBank

MAGIC = b"\x93NUMPY"
NAMES = ("order", "asked", "origins", "families", "shapes", "x", "values", "kinds", "roles", "broad")
INDEX = {
    "schema": 1,
    "learners": {"l": {"names": ["eta"], "kinds": [0]}},
    "runs": [{"table": "iris", "learner": "l", "responses": ["r"]}],
}


def seeds():
    arrays = (
        *(np.zeros((2, 3), np.int16), np.zeros((2, 3), np.int16), np.array(["a"]), np.array(["b"])),
        *(np.array([[3, 1]]), np.zeros(3, np.float32), np.zeros(6, np.float32)),
        *(np.zeros(1, np.int8), np.zeros(1, np.int8), np.zeros(3, bool)),
    )
    for chosen in (
        arrays,
        (np.array(json.dumps(INDEX)), np.zeros((6, 1), np.uint16), np.arange(6, dtype=np.float32)[None]),
    ):
        buffer = io.BytesIO()
        for array in chosen:
            np.save(buffer, array)
        yield buffer.getvalue()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, order=arrays[0], asked=arrays[1])
    yield buffer.getvalue()


def one_input(data, folder):
    for names, read in (
        (NAMES, lambda: load_rollouts(folder, 0)),
        (NAMES, lambda: TaskBank.load(folder / "0.npz")),
        (("index", "x0", "y0"), lambda: load_own_runs(folder / "0.npz")),
    ):
        if data.startswith(MAGIC):
            with zipfile.ZipFile(folder / "0.npz", "w") as out:
                for name, part in zip(names, data.split(MAGIC)[1:], strict=False):
                    out.writestr(f"{name}.npy", MAGIC + part)
        else:
            (folder / "0.npz").write_bytes(data)
        with contextlib.suppress(DiffHPOError):
            read()
