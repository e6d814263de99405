# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a model and of its training."""

from pathlib import Path
from tempfile import TemporaryDirectory

import tensor_bytes
import torch

from diffhpo.history import History
from diffhpo.model import (
    Checkpoint,
    Network,
    NoiseSchedule,
    Predictor,
    Sampler,
    Trainer,
    Transformer,
    load_checkpoint,
    save_checkpoint,
)


def seeds():
    torch.manual_seed(0)
    network, transformer = (
        Network(1, width=2, blocks=1, context_width=2, time_features=2),
        Transformer(1, width=2),
    )
    predictor = Predictor(1, width=2, layers=1, heads=1, context_width=2, bars=2)
    schedule = NoiseSchedule.linear(3)
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        for parts in ((), (predictor,)):
            save_checkpoint(path, Checkpoint(network, transformer, schedule, 0, {}, {"a": [1]}, *parts))
            yield tensor_bytes.as_input(path.read_bytes())
            yield path.read_bytes()
        trainer = Trainer(network, transformer, schedule, batch=2, executor="reference")
        trainer.fit(Sampler(History([[0.1], [0.4], [0.7]], [1.0, 3.0, 2.0]), timesteps=3), 1)
        trainer.save(path)
        yield tensor_bytes.as_input(path.read_bytes())


def one_input(data, folder):
    path = folder / "file"
    path.write_bytes(tensor_bytes.as_file(data))
    load_checkpoint(path)
    Trainer.resume(path, executor="reference")
