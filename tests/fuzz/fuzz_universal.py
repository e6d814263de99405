# SPDX-License-Identifier: Apache-2.0
"""Files of the universal model, for use and in the middle of training."""

from pathlib import Path
from tempfile import TemporaryDirectory

import tensor_bytes
import torch

from diffhpo.model.universal import UniversalModel
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, load_universal, save_universal


def seeds():
    torch.manual_seed(0)
    model = UniversalModel(width=2, layers=1, predictor_layers=1, blocks=1, heads=1)
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        for half in (False, True):
            training = {} if half else {"average.a": torch.ones(2)}
            save_universal(path, UniversalCheckpoint(model, 3, training, {"seed": 1}), half=half)
            yield tensor_bytes.as_input(path.read_bytes())
        yield path.read_bytes()


def one_input(data, folder):
    path = folder / "file"
    path.write_bytes(tensor_bytes.as_file(data))
    load_universal(path)
