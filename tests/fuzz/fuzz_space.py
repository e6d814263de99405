# SPDX-License-Identifier: Apache-2.0
"""Files of search spaces."""

import json

import numpy as np

from diffhpo import Space
from diffhpo.trial_table import read_space_file


def seeds():
    yield json.dumps(
        {
            "lr": {"type": "float", "low": 1e-4, "high": 1, "log": True},
            "part": {"type": "float", "low": 0, "high": 1, "step": 0.25},
            "kind": {"type": "categorical", "choices": ["a", "b", None]},
            "depth": {"type": "int", "low": 1, "high": 9, "when": {"kind": ["a", "b"]}},
            "width": {"type": "int", "low": 1, "high": 1024, "log": True},
            "size": {"type": "ordinal", "choices": [1, 10, 100]},
            "fixed": {"type": "constant", "value": [1, "x"]},
        }
    ).encode()
    yield b'{"x": {"type": "float", "low": 0, "high": 1}}'
    yield b'{"x": {"type": "int", "low": 0, "high": 8, "step": 2}}'


def one_input(data, folder):
    path = folder / "file"
    path.write_bytes(data)
    space = read_space_file(path)
    # A space that was read can be used, whatever it is.
    assert Space.from_json(json.loads(json.dumps(space.to_json()))).dim == space.dim
    units = space.snap(np.random.default_rng(0).random((2, space.dim)))
    for unit in units:
        configuration = space.decode(unit)
        assert np.isfinite(space.encode(configuration)).all()
    assert space.size > 0
