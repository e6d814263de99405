# SPDX-License-Identifier: Apache-2.0
"""Hostile and damaged files: an error of the package's own, for any bit and any length."""

import json
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save
from tests.untrained_model import untrained_model

from diffhpo import Categorical, Float, Int, Optimizer, Space
from diffhpo.errors import CheckpointError, DiffHPOError
from diffhpo.model import Checkpoint, Network, NoiseSchedule, Transformer, load_checkpoint, save_checkpoint
from diffhpo.model.tensor_file import CHECKSUM, write_tensors
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, load_universal, save_universal
from diffhpo.trial_table import read_space_file, read_trial_table

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")})


def a_checkpoint(path):
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(Network(2, width=8), Transformer(2, width=8), NoiseSchedule.linear(20)))


def a_universal_checkpoint(path):
    model = untrained_model()
    save_universal(path, UniversalCheckpoint(model))


def an_optimizer(path):
    optimizer = Optimizer(SPACE)
    for suggestion in optimizer.ask(4):
        optimizer.tell(suggestion, 1.0)
    optimizer.save(path)


READERS = {
    "checkpoint": (a_checkpoint, load_checkpoint),
    "universal": (a_universal_checkpoint, load_universal),
    "optimizer": (an_optimizer, Optimizer.load),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name, (write, _) in READERS.items():
        write(folder / name)
    return {name: (folder / name).read_bytes() for name in READERS}


def refusal(read, path):
    """The message of the package's own error, or None if the file is read; anything else is a failure."""
    try:
        read(path)
    except DiffHPOError as error:
        return str(error)
    return None


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_every_length_is_refused(name, whole, tmp_path):
    path, data = tmp_path / "file", whole[name]
    for length in sorted({*range(0, len(data), 1024), *range(16), len(data) - 1}):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=str(path)):
            READERS[name][1](path)


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), in_header=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_25_a_flipped_bit_is_read_or_refused(name, whole, tmp_path, place, bit, in_header):
    data = bytearray(whole[name])
    size = 8 + struct.unpack("<Q", data[:8])[0] if in_header else len(data)
    data[int(place * size)] ^= 1 << bit
    path = tmp_path / "file"
    path.write_bytes(data)
    message = refusal(READERS[name][1], path)
    assert message is None or str(path) in message


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<Q", 200_000_000),
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 2) + b"{}",
        b"",
        b"PK\x03\x04" + bytes(100),
    ],
    ids=["200 MB", "2**63", "nested", "empty", "nothing", "zip"],
)
def test_25_hostile_headers(name, header, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(header)
    with pytest.raises(CheckpointError):
        READERS[name][1](path)


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_other_schemas_and_shapes(name, whole, tmp_path):
    data = whole[name]
    size = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    path = tmp_path / "file"
    path.write_bytes(save({"a": torch.zeros(3)}, {**metadata, "schema": "99"}))
    with pytest.raises(CheckpointError, match=r"schema 99.*up to schema 1.*pip install --upgrade"):
        READERS[name][1](path)
    for broken in ({"a": torch.zeros(3)}, {}):
        path.write_bytes(save(broken, metadata))
        with pytest.raises(CheckpointError):
            READERS[name][1](path)


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "settings",
    [
        ["0", "mazimize", 5, False],
        ["-1", "maximize", 5, False],
        ["0", "maximize", -5, False],
        ["0", "maximize", "5", False],
        ["0", "maximize", 5, 0],
        ["0", ["maximize"], 5, False],
    ],
)
def test_25_settings_of_an_optimizer_that_none_has(settings, whole, tmp_path):
    data, path = whole["optimizer"], tmp_path / "file"
    path.write_bytes(data)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {name: text for name, text in file.metadata().items() if name != CHECKSUM}
    write_tensors(path, tensors, {**metadata, "run": json.dumps(settings)})
    with pytest.raises(CheckpointError, match="file is damaged: its settings are"):
        Optimizer.load(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.fault(26)
@pytest.mark.parametrize("name", READERS)
def test_26_pickles_do_not_run(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="safetensors"):
        READERS[name][1](path)
    torch.save({"a": Bomb()}, path)
    with pytest.raises(CheckpointError, match="safetensors"):
        READERS[name][1](path)


@pytest.mark.fault(24)
def test_24_weights_that_are_not_finite(whole, tmp_path):
    path = tmp_path / "file"
    for value in (np.nan, np.inf):
        model = untrained_model()
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] = value
        save_universal(path, UniversalCheckpoint(model))
        with pytest.raises(CheckpointError, match=r"tensor model\..* not finite"):
            load_universal(path)


@pytest.mark.fault(25)
@given(data=st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_25_any_bytes_as_a_table_or_a_space(data, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    for read in (read_trial_table, read_space_file):
        message = refusal(read, path)
        assert message is None or str(path) in message
