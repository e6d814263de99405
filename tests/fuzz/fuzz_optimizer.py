# SPDX-License-Identifier: Apache-2.0
"""Saved optimizers."""

from pathlib import Path
from tempfile import TemporaryDirectory

import tensor_bytes

from diffhpo import Categorical, Float, Int, Optimizer, Space
from diffhpo.space import Condition, Constant, Ordinal

SPACE = Space(
    {
        "lr": Float(1e-4, 1.0, log=True),
        "kind": Categorical("abc"),
        "depth": Int(1, 9),
        "size": Ordinal([1, 10, 100]),
        "fixed": Constant("x"),
    },
    conditions={"depth": Condition("kind", ["a", "b"])},
)


def seeds():
    optimizer = Optimizer(SPACE)
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        optimizer.save(path)
        yield tensor_bytes.as_input(path.read_bytes())
        first, second, _ = optimizer.ask(3)
        optimizer.tell(first, 1.0)
        optimizer.tell(second, failed=True)
        optimizer.save(path)
        yield tensor_bytes.as_input(path.read_bytes())
        yield path.read_bytes()


def one_input(data, folder):
    path = folder / "file"
    path.write_bytes(tensor_bytes.as_file(data))
    optimizer = Optimizer.load(path)
    assert all(trial.value == trial.value for trial in optimizer.trials if trial.value is not None)
    optimizer.save(path)
