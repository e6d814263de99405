# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffhpo.errors import CheckpointError
from diffhpo.model import (
    Checkpoint,
    Network,
    NoiseSchedule,
    Predictor,
    Transformer,
    load_checkpoint,
    save_checkpoint,
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    checkpoint = Checkpoint(
        Network(2, width=8, context_width=4),
        Transformer(2, width=4),
        NoiseSchedule.cosine(20),
        step=3,
        extra={"seed": 7},
    )
    save_checkpoint(path, checkpoint)
    return path, checkpoint


def rewrite(path, tensors=None, **metadata):
    """The same file with some of its tensors or metadata replaced."""
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    kept = {key: value for key, value in header["__metadata__"].items() if key != "sha256"}
    save_file({**load_file(path), **(tensors or {})}, path, {**kept, **metadata})


def test_round_trip_is_exact(saved):
    path, checkpoint = saved
    loaded = load_checkpoint(path)
    for part in ("network", "transformer"):
        for name, value in getattr(checkpoint, part).state_dict().items():
            assert torch.equal(value, getattr(loaded, part).state_dict()[name])
    assert torch.equal(loaded.schedule.betas, checkpoint.schedule.betas)
    assert (loaded.step, loaded.extra) == (3, {"seed": 7})


def test_a_predictor_comes_back_where_there_was_one(saved):
    path, checkpoint = saved
    assert load_checkpoint(path).predictor is None
    predictor = Predictor(2, width=8, context_width=4, bars=5)
    predictor.borders.mul_(2)
    save_checkpoint(path, dataclasses.replace(checkpoint, predictor=predictor))
    loaded = load_checkpoint(path).predictor
    assert loaded.config == predictor.config
    for name, value in predictor.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    rewrite(path, predictor=json.dumps({**predictor.config, "bars": 6}))
    with pytest.raises(CheckpointError, match="does not fit the shapes"):
        load_checkpoint(path)


def test_every_truncation_is_refused(saved):
    path, _ = saved
    data = path.read_bytes()
    for size in [*range(0, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_checkpoint(path)


def test_one_message_per_cause(saved):
    path, _ = saved
    good = path.read_bytes()
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(path.with_name("none"))
    path.write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_checkpoint(path)
    path.write_bytes(struct.pack("<Q", 200 * 2**20) + good)
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_checkpoint(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a diffhpo checkpoint"):
        load_checkpoint(path)
    path.write_bytes(good)
    rewrite(path, schema="99")
    with pytest.raises(CheckpointError, match=r"schema 99.*up to schema 1.*pip install --upgrade"):
        load_checkpoint(path)
    path.write_bytes(good)
    rewrite(path, network="{")
    with pytest.raises(CheckpointError, match="damaged metadata"):
        load_checkpoint(path)
    path.write_bytes(good)
    rewrite(path, {"network.input.weight": torch.full((8, 2), float("nan"))})
    with pytest.raises(CheckpointError, match=r"network\.input\.weight.*not finite"):
        load_checkpoint(path)
    path.write_bytes(good)
    rewrite(path, {"network.input.weight": torch.zeros(9, 2)})
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(path)


def test_a_failed_write_keeps_the_old_file(saved, monkeypatch):
    path, checkpoint = saved
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
